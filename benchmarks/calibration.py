"""Cost of ``ls-ood calibrate`` over the length of driving: memory, time beside the bare network pass, disk.

    python benchmarks/calibration.py --json calibration.json
    python benchmarks/calibration.py --lengths 200000 --work /data/scratch

Each length is a fresh process that calibrates all detectors of the bundle on two drives of two cameras at 10 Hz, made here:
street pictures of 160x120 with noise, as JPEG. *Peak* is the largest resident memory of the process. *Pass* is another fresh
process that reads and decodes the same frames once and runs the network on them in the same batches, without anything else.
*A further frame* is the slope to the length before: what is paid once (start, fits) is not in it.

By default the network is the embedded one at an input of 64x48, so that many frames fit a coffee break. Its features are as
large as at full size, so memory and disk are those of full size; shares of the pass are not. ``--bundle DIR`` takes another
bundle, ``--full-size`` the embedded one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from command_line import exit_code, make_parser, print_table, read_arguments

from ls_ood_monitor.bundle import CALIBRATION, EMBEDDED_BUNDLE, load_bundle, save_bundle
from ls_ood_monitor.calibration.network import BatchedNetwork
from ls_ood_monitor.cli.console import console, write_json
from ls_ood_monitor.cli.profile import parse_size
from ls_ood_monitor.frame_pass import LatentSettings
from ls_ood_monitor.networks.deeplab_pass import DeepLabPass
from ls_ood_monitor.recordings.bags import FrameBagWriter
from ls_ood_monitor.recordings.drive_source import open_drives
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.vision.mc_dropout import draw_mask_bank
from ls_ood_monitor.vision.preprocess import PreprocessSpec
from ls_ood_monitor.workers.processes import cores

START_NS, PERIOD_NS = 10**18, 10**8
CAMERAS = ("front", "rear")
_SCENES = 12


def write_drives(folder: Path, frames: int, size: tuple[int, int]) -> list[Path]:
    """Two bags of two cameras, ``frames`` in all; ``size``: width and height of the pictures."""
    random = np.random.default_rng(0)
    paths = []
    for number in (0, 1):
        drive = StreetDrive(3000 + number)
        scenes = {camera: [drive.render(camera, 2.0 * t, *size)[0] for t in range(_SCENES)] for camera in CAMERAS}
        noise = random.integers(-12, 13, (64, *size[::-1], 3), dtype=np.int16)
        paths.append(folder / f"drive_{number}.mcap")
        with FrameBagWriter(paths[-1], "mcap") as writer:
            for index in range(frames // 2 // len(CAMERAS)):
                for camera in CAMERAS:
                    scene = scenes[camera][index // 50 % _SCENES].astype(np.int16)
                    shift = int(random.integers(size[0]))
                    picture = np.clip(scene + np.roll(noise[index % 64], shift, axis=1), 0, 255)
                    writer.write(camera, picture.astype(np.uint8), START_NS + index * PERIOD_NS, True)
    return paths


def small_bundle(path: Path) -> Path:
    """The embedded network and detectors, at an input of 64x48."""
    embedded = load_bundle(device="cpu")
    own = embedded.frame_pass
    bank = draw_mask_bank(64, 3, 4, block_size=1, drop_prob=0.3, seed=0)
    frame_pass = DeepLabPass(own.network, PreprocessSpec(width=64, height=48), bank, "cpu", own.features)
    parts = (embedded.detectors, embedded.thresholds, embedded.detector, embedded.class_names)
    save_bundle(path, frame_pass, LatentSettings(mc_samples=64), *parts, {})
    return path


def run_pass(bundle: Path, drives: list[Path]) -> None:
    """Read the frames, run the network on them, and print the seconds of that."""
    frame_pass = load_bundle(bundle, device="cpu", threads=1).frame_pass
    began_s = time.perf_counter()
    for drive in open_drives(drives):
        with BatchedNetwork(frame_pass, cores(), lambda _numbers, _features: None) as network:
            for number, frame in enumerate(drive.read()):
                network.add(number, frame)
            network.finish()
    print(time.perf_counter() - began_s)


def measure(command: list[str]) -> tuple[float, float, str]:
    """Seconds, largest resident memory (MB) and output of a fresh process."""
    began_s = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, text=True)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        taken_s = time.perf_counter() - began_s
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {errors.read()[-2000:]}")
        return taken_s, usage.ru_maxrss / 1e3, output.read()


def measure_length(frames: int, bundle: Path, size: tuple[int, int], work: Path, jobs: str) -> dict[str, Any]:
    """Figures of one length."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        drives = write_drives(Path(folder), frames, size)
        names = [str(path) for path in drives]
        _, _, seconds = measure([sys.executable, __file__, "--pass", str(bundle), *names])
        out = Path(folder) / "out"
        command = [sys.executable, "-m", "ls_ood_monitor.cli.main", "calibrate", *names, "--bundle", str(bundle)]
        command += ["--device", "cpu", "--out", str(out), "--allow-small", "--jobs", jobs]
        taken_s, peak_mb, _ = measure([*command, "--json", str(Path(folder) / "result.json")])
        facts = json.loads((Path(folder) / "result.json").read_text())["calibration"]
        return {
            "frames": facts["frames"],
            "fitted_to_frames": facts["fitted_to_frames"],
            "peak_mb": round(peak_mb),
            "seconds": round(taken_s, 1),
            "pass_seconds": round(float(seconds), 1),
            "table_bytes_a_frame": round((out / CALIBRATION).stat().st_size / facts["frames"]),
        }


def add_slopes(rows: list[dict[str, Any]]) -> None:
    """Milliseconds of a further frame, of the calibration and of the bare pass."""
    for before, row in pairwise(rows):
        further = row["frames"] - before["frames"]
        for key, name in (("seconds", "frame_ms"), ("pass_seconds", "pass_frame_ms")):
            row[name] = round(1e3 * (row[key] - before[key]) / further, 2)
        row["share_of_pass"] = round(row["frame_ms"] / row["pass_frame_ms"], 3)


def parse_lengths(text: str) -> list[int]:
    """Numbers of frames, for argparse."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) >= 400 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers of at least 400.")
    return sorted(map(int, parts))


def main() -> None:
    """Measure every length, print the table."""
    if sys.argv[1:2] == ["--pass"]:
        run_pass(Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
        return
    parser = make_parser(__doc__)
    parser.add_argument(
        "--lengths",
        type=parse_lengths,
        default=[3000, 12000, 48000],
        metavar="N,N",
        help="numbers of frames (default 3000,12000,48000)",
    )
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to start from")
    network.add_argument("--full-size", action="store_true", help="start from the embedded bundle")
    parser.add_argument(
        "--picture-size",
        default="160x120",
        metavar="WxH",
        help="size of the pictures (default %(default)s)",
    )
    parser.add_argument("--jobs", default="1", metavar="N", help="as for ls-ood calibrate (default %(default)s)")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="where recordings are made (default: the system's place)"
    )
    args = read_arguments(parser)
    size = parse_size(args.picture_size)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        bundle = args.bundle or (EMBEDDED_BUNDLE if args.full_size else small_bundle(Path(folder) / "bundle"))
        for frames in args.lengths:
            rows.append(measure_length(frames, bundle.absolute(), size, Path(folder), args.jobs))
            console.print(rows[-1], highlight=False)
    add_slopes(rows)
    columns = (
        "frames",
        "fitted to",
        "peak, MB",
        "seconds",
        "pass, s",
        "a further frame, ms",
        "pass, ms",
        "table, B a frame",
    )
    keys = (
        *("frames", "fitted_to_frames", "peak_mb", "seconds", "pass_seconds", "frame_ms", "pass_frame_ms"),
        "table_bytes_a_frame",
    )
    print_table(columns, [[row.get(key, "-") for key in keys] for row in rows])
    write_json(args.json, {"cores": cores(), "lengths": rows})


if __name__ == "__main__":
    sys.exit(exit_code(main))
