"""Cost of ``ls-ood evaluate``: frames a second, the share of each stage, and memory over the recording's length.

    python benchmarks/evaluation.py --json evaluation.json

Speed: camera-size pictures, raw and as JPEG, judged by the embedded bundle (or ``--bundle``). Reading, decoding, checks and
network are each timed alone, on one thread; the rest (alarm, supervisor, table, pictures, report) is the remainder of a
whole evaluation. The shares count: ``reading`` and ``decoding`` must stay far below ``network``.

Growth: small pictures and a small network, so that only the data kept per frame can grow. Peak memory and time a frame are
those of a fresh process, over a recording and over ones three and ten times as long. ``--growth PICTURE`` draws them.
"""

from __future__ import annotations

import argparse
import csv
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from command_line import count, exit_code, make_parser, print_table, read_arguments

from ls_ood_monitor.bundle import load_bundle, save_bundle
from ls_ood_monitor.calibration.calibrate import calibrate
from ls_ood_monitor.calibration.collect import collect_features
from ls_ood_monitor.calibration.settings import CalibrationSettings
from ls_ood_monitor.cli.console import PICTURES, console, require_file_place, write_json
from ls_ood_monitor.cli.profile import parse_size
from ls_ood_monitor.config import HealthSettings
from ls_ood_monitor.core.input_validation import ArrivalMonitor, FrameValidator
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.evaluation.evaluate import evaluate
from ls_ood_monitor.evaluation.request import Request
from ls_ood_monitor.frame_pass import LatentSettings
from ls_ood_monitor.networks.deeplab_pass import DeepLabPass
from ls_ood_monitor.recordings.bags import FrameBagWriter, iter_arrivals, iter_raw
from ls_ood_monitor.recordings.recording import open_recording
from ls_ood_monitor.vision.mc_dropout import draw_mask_bank
from ls_ood_monitor.vision.preprocess import PreprocessSpec
from ls_ood_monitor.workers.processes import cores

START_NS, PERIOD_NS = 10**18, 10**8
DETECTORS = ("larem", "multistage")
#: Lengths of the compared recordings, in multiples of the shortest.
LENGTHS = (1, 3, 10)
STAGES = ("reading", "decoding", "checks", "network", "rest")


def picture(index: int, width: int, height: int) -> np.ndarray:
    """BGR with smooth content that moves from frame to frame."""
    coarse = np.random.default_rng(index % 50).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    coarse[0, 0] = index % 256, index // 256 % 256, 0
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def write_bag(path: Path, frames: int, width: int, height: int, compressed: bool) -> Path:
    """One camera, 10 Hz."""
    with FrameBagWriter(path, "mcap") as writer:
        for index in range(frames):
            writer.write("front", picture(index, width, height), START_NS + index * PERIOD_NS, compressed)
    return path


def small_bundle(path: Path) -> Path:
    """The embedded network at an input of 64x48, calibrated on such pictures."""
    embedded = load_bundle(device="cpu")
    bank = draw_mask_bank(8, 3, 4, block_size=1, drop_prob=0.3, seed=0)
    frame_pass = DeepLabPass(embedded.frame_pass.network, PreprocessSpec(width=64, height=48), bank)
    frames = [Frame(picture(index, 64, 48), 1 + index * 10**9, "front") for index in range(40)]
    table = collect_features(frames, frame_pass)
    fitted = calibrate(table, CalibrationSettings(0.05, block_s=5.0), names=DETECTORS, head=frame_pass.head)
    detectors = {name: result.detector for name, result in fitted.items()}
    thresholds = {name: result.threshold for name, result in fitted.items()}
    settings, facts = LatentSettings(mc_samples=8), {"domain": "benchmark"}
    save_bundle(path, frame_pass, settings, detectors, thresholds, "multistage", embedded.class_names, facts)
    return path


def request_for(bag: Path, bundle: Path | None, out: Path) -> Request:
    """As the command would make it."""
    out.mkdir()
    bundle_id = load_bundle(bundle, device="cpu").bundle_id
    facts = {"bundle": bundle, "bundle_id": bundle_id, "device": "cpu", "out": out}
    return Request(recording=open_recording(bag), command="benchmark", run=uuid.uuid4().hex, **facts)


def seconds(work: Iterable[object]) -> float:
    """Time to exhaust an iterable."""
    begin = time.perf_counter()
    for _ in work:
        pass
    return time.perf_counter() - begin


def evaluation_s(request: Request, threads: int = 1) -> tuple[float, int]:
    """Time of an evaluation, and its number of frames."""
    begin = time.perf_counter()
    result = evaluate(request, threads=threads)
    duration_s = time.perf_counter() - begin
    if result.summary is None:
        raise SystemExit(result.error)
    return duration_s, result.summary.frames


def speed(bag: Path, request: Request) -> dict[str, float]:
    """Frames a second, and the share of each stage in an evaluation on one thread."""
    evaluate(request)  # loads the bundle
    total, frames = evaluation_s(request)
    with (request.out / "frames.csv").open(encoding="utf-8") as file:
        latencies = [float(row["latency_ms"]) for row in csv.DictReader(file)]
    reading, arrivals = seconds(iter_raw(bag)), seconds(iter_arrivals(bag))
    validator, watch = FrameValidator("front", HealthSettings()), ArrivalMonitor(HealthSettings(), 1.0)
    watch.start(START_NS)

    def checked() -> Any:
        for arrival in iter_arrivals(bag):
            frame = Frame(arrival.image, arrival.stamp_ns, "front")
            watch.arrived(arrival.received_ns)
            yield validator.check(frame, arrival.stamp_ns), watch.check(arrival.received_ns)
            yield validator.check_encoding(arrival.encoding)

    times = {
        "reading": reading,
        "decoding": max(0.0, arrivals - reading),
        "checks": max(0.0, seconds(checked()) - arrivals),
        "network": sum(latencies) / 1e3,
    }
    times["rest"] = max(0.0, total - sum(times.values()))
    all_cores, _ = evaluation_s(request, cores())
    shares = {name: value / sum(times.values()) for name, value in times.items()}
    return {"frames": frames, "frames_per_s": frames / total, "frames_per_s_all_cores": frames / all_cores, **shares}


def print_speed(figures: Mapping[str, Mapping[str, float]], width: int | None = None) -> None:
    """A row for each figure and a column for each kind of pictures, so that it fits any terminal."""
    rates = {"frames/s, one thread": "frames_per_s", "frames/s, all cores": "frames_per_s_all_cores"}
    rows = [(title, *(f"{kind[name]:.1f}" for kind in figures.values())) for title, name in rates.items()]
    rows += [(stage, *(f"{kind[stage]:.1%}" for kind in figures.values())) for stage in STAGES]
    print_table(("pictures", *figures), rows, width=width)


def cost_of(requests: Sequence[Request], folder: Path) -> dict[str, float]:
    """Peak memory and time a frame of the last request, in a fresh process that has run the others."""
    place = folder / "request.pickle"
    place.write_bytes(pickle.dumps(list(requests)))
    done = subprocess.run([sys.executable, __file__, "--child", str(place)], capture_output=True, text=True, check=True)
    cost: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return cost


def child(place: Path) -> None:
    """Evaluate, and print peak memory and time a frame."""
    *before, request = pickle.loads(place.read_bytes())
    for earlier in before:
        evaluate(earlier)
    duration_s, frames = evaluation_s(request)
    # Not ru_maxrss, which a child inherits from the process that started it.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024.0
    print(json.dumps({"peak_mb": peak_mb, "frame_ms": 1000.0 * duration_s / frames}))


def draw_growth(growth: Mapping[int, Mapping[str, float]], path: Path) -> None:
    """Peak memory and time a frame against the number of frames, both from nothing."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(6.8, 2.8))
    counts = sorted(growth)
    for panel, key, label in zip(panels, ("peak_mb", "frame_ms"), ("peak memory, MB", "ms a frame"), strict=True):
        values = [growth[frames][key] for frames in counts]
        panel.plot(counts, values, "o-")
        for place, value in zip(counts, values, strict=True):
            note = f"x{value / values[0]:.2f}"
            panel.annotate(note, (place, value), (0, 8), textcoords="offset points", ha="center")
        panel.set_xscale("log")
        panel.set_xticks(counts, [f"{frames:,}" for frames in counts])
        panel.minorticks_off()
        panel.margins(x=0.2)
        panel.set_ylim(0.0, 1.3 * max(values))
        panel.set_xlabel("frames of the recording")
        panel.set_ylabel(label)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--frames", type=count, default=30, help="for the speed (%(default)s)")
    parser.add_argument("--size", default="1280x720", help="of their pictures (%(default)s)")
    parser.add_argument("--growth-frames", type=count, default=400, help="of the shortest recording (%(default)s)")
    parser.add_argument("--growth", type=Path, metavar="PICTURE", help="draw how the cost grows with the recording")
    parser.add_argument("--bundle", type=Path, metavar="DIR")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = read_arguments(parser)
    if args.child:
        child(args.child)
        return
    require_file_place("--growth", args.growth, PICTURES)
    width, height = parse_size(args.size)
    report: dict[str, Any] = {"size": args.size, "speed": {}, "growth": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("raw", "jpeg"):
            bag = write_bag(folder / kind, args.frames, width, height, kind == "jpeg")
            figures = speed(bag, request_for(bag, args.bundle and args.bundle.absolute(), folder / f"{kind}_out"))
            report["speed"][kind] = figures
        bundle = small_bundle(folder / "bundle")
        # The first recording pays for loading, which would otherwise count less in a long recording than in a short one.
        first = write_bag(folder / "first", 20, 64, 48, False)
        for frames in (factor * args.growth_frames for factor in LENGTHS):
            bag = write_bag(folder / f"bag_{frames}", frames, 64, 48, False)
            requests = [request_for(path, bundle, folder / f"{path.name}_{frames}_out") for path in (first, bag)]
            report["growth"][frames] = cost_of(requests, folder)
            shutil.rmtree(bag)
    print_speed(report["speed"])
    for frames, cost in report["growth"].items():
        console.print(f"{frames} frames: peak memory {cost['peak_mb']:.0f} MB, {cost['frame_ms']:.2f} ms a frame")
    if args.growth:
        draw_growth(report["growth"], args.growth)
    write_json(args.json, report)


if __name__ == "__main__":
    sys.exit(exit_code(main))
