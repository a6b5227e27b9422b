"""Damages bags at random, and checks that reading ends well: images or a sentence, and no loss that is not stated.

python test/support/bag_fuzzing.py --count 20000          (from the repository's root)
"""

from __future__ import annotations

import argparse
import resource
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.bags import bag_info
from ls_ood_monitor.recordings.recording import open_recording

IMAGE = "sensor_msgs/msg/Image"
TOPICS = ("/front/image", "/left/image")
COUNT = 12  # images on each topic
LIMIT_S = 10.0


def write_bags(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Small whole bags: kind -> bag, and its file that is damaged."""
    ros2, ros1 = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS1_NOETIC)
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 8 * 8 * 3), dtype=np.uint8)

    def message(store, index: int, **header):
        time_type = store.types["builtin_interfaces/msg/Time"]
        stamped = store.types["std_msgs/msg/Header"](**header, stamp=time_type(1000, index * 10**8 // 2), frame_id="f")
        return store.types[IMAGE](stamped, 8, 8, "bgr8", 0, 24, pixels[index])

    bags = {}
    for kind, plugin, mode in (
        ("sqlite3", StoragePlugin.SQLITE3, None),
        ("mcap", StoragePlugin.MCAP, None),
        ("mcap zstd", StoragePlugin.MCAP, CompressionMode.STORAGE),
    ):
        path = folder / kind.replace(" ", "_")
        writer = Writer(path, version=9, storage_plugin=plugin)
        if mode is not None:
            writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            connections = [writer.add_connection(topic, IMAGE, typestore=ros2) for topic in TOPICS]
            for index in range(COUNT):
                for connection in connections:
                    writer.write(connection, 10**12 + index * 10**8, ros2.serialize_cdr(message(ros2, index), IMAGE))
        bags[kind] = path, next(file for file in path.iterdir() if file.suffix != ".yaml")
    for kind, compression in (("ros 1", None), ("ros 1 bz2", rosbag1.Writer.CompressionFormat.BZ2)):
        path = folder / f"{kind.replace(' ', '_')}.bag"
        bag = rosbag1.Writer(path)
        if compression is not None:
            bag.set_compression(compression)
        with bag:
            connections = [bag.add_connection(topic, IMAGE, typestore=ros1) for topic in TOPICS]
            for index in range(COUNT):
                for connection in connections:
                    data = ros1.serialize_ros1(message(ros1, index, seq=index), IMAGE)
                    bag.write(connection, 10**12 + index * 10**8, data)
        bags[kind] = path, path
    return bags


def mutate(whole: bytes, random: np.random.Generator) -> bytes:
    """Flipped bytes, a cut, a hole, a doubled or a removed piece; one or two of them."""
    data = bytearray(whole)
    for _ in range(int(random.integers(1, 3))):
        begin, length = int(random.integers(0, len(data) + 1)), int(random.integers(1, 600))
        kind = int(random.integers(0, 6))
        if kind <= 1 and data:
            for place in random.integers(0, len(data), int(random.integers(1, 9))):
                data[place] = int(random.integers(0, 256))
        elif kind == 2:
            del data[begin:]
        elif kind == 3:
            data[begin : begin + length] = bytes(len(data[begin : begin + length]))
        elif kind == 4:
            data[begin:begin] = data[begin : begin + length]
        else:
            del data[begin : begin + length]
    return bytes(data)


@contextmanager
def time_limit() -> Iterator[None]:
    """Raise ``TimeoutError`` after ``LIMIT_S``."""

    def end(_number: int, _frame: object) -> None:
        raise TimeoutError(f"longer than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def outcome(bag: Path) -> str:
    """What reading a bag came to: ``whole``, ``stated`` (a loss that is stated), ``renamed``, ``refused``, or ``SILENT`` loss.

    Any error but ``DataError`` passes through.
    """
    read = 0
    with time_limit():
        try:
            recording = open_recording(bag)
            for _ in recording.read():
                read += 1
        except DataError as error:
            if "\n" in str(error):
                raise ValueError(f"more than a sentence: {error}") from error
            return "refused" if not read else "stated"
    if read >= COUNT * len(TOPICS):
        return "whole"
    # An evaluation states the difference between promised and read.
    if recording.damage or recording.images > read:
        return "stated"
    # Formats without checksums: a changed name or type is a topic that the file states, and inspect lists.
    listed = sum(entry.messages for entry in bag_info(bag, recover=True).topics)
    return "renamed" if listed >= COUNT * len(TOPICS) else "SILENT"


def run(count: int, seed: int, folder: Path) -> Counter[str]:
    """Outcomes of ``count`` damaged bags, by kind; raises the first error, with the bag left in ``folder``."""
    bags = write_bags(folder)
    wholes = {kind: file.read_bytes() for kind, (_, file) in bags.items()}
    outcomes: Counter[str] = Counter()
    random = np.random.default_rng(seed)
    for number in range(count):
        kind = list(bags)[number % len(bags)]
        bag, file = bags[kind]
        for extra in bag.iterdir() if bag.is_dir() else ():
            if extra.name.endswith(("-shm", "-wal")):
                extra.unlink()
        file.write_bytes(mutate(wholes[kind], random))
        result = outcome(bag)
        outcomes[f"{kind}: {result}"] += 1
        if result == "SILENT":
            raise AssertionError(
                f"{kind}, mutation {number} of seed {seed}: images are lost, and nothing states it ({bag})"
            )
    return outcomes


def main() -> None:
    """Run and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))  # a damaged length must not fill the memory
    folder, began = Path(tempfile.mkdtemp(prefix="bag_fuzzing_")), time.monotonic()
    for name, count in sorted(run(args.count, args.seed, folder).items()):
        print(f"{name} {count}")
    print(f"{args.count} damaged bags in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
