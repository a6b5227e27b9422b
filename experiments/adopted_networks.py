r"""Several networks as monitors of one recording: what each sees of disturbances, and whether adopting changed its classes.

    python experiments/adopted_networks.py --bundles adopted_a adopted_b street --calibrate clip.mp4 --end 4.4 \
        --judge clip.mp4 --start 4.6 --originals a.onnx b.onnx --out DIR

Each bundle is calibrated on the same clean recording for 1 % of the frames. Then pictures of another clean recording, or of a
later part, are judged as they are and under every anomaly at severity 1, 3 and 5. ``street`` is the embedded bundle, trained on
a synthetic street. Disturbances are synthetic. Neighbouring frames are alike, so the true intervals are wider than those shown.

``--originals`` are the files that were adopted, in the order of the bundles. Their class ids, from ONNX Runtime alone, are
compared with the bundle's on ``--pictures`` pictures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ls_ood_monitor.anomalies import ANOMALIES, apply_anomaly
from ls_ood_monitor.bundle import EMBEDDED_BUNDLE, load_bundle
from ls_ood_monitor.cli.console import progress_bar, write_json
from ls_ood_monitor.core.intervals import wilson_interval
from ls_ood_monitor.core.types import Alarm, AlarmState, Frame
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.recordings.drive_source import open_drives
from ls_ood_monitor.vision.overlay import draw_overlay
from ls_ood_monitor.vision.preprocess import resize_image

SEVERITIES = (1, 3, 5)
BATCH = 4


def main() -> None:
    """Calibrate, judge, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--bundles", nargs="+", required=True, help="bundle folders, or street")
    add("--calibrate", type=Path, required=True, help="clean recording")
    add("--end", type=float, help="calibrate up to so many seconds")
    add("--block", default="0.5", help="block held out, seconds (default %(default)s)")
    add("--judge", type=Path, required=True, help="another clean recording, or the same one with --start")
    add("--start", type=float, help="judge from so many seconds on")
    add("--step", type=int, default=10, help="judge every so manyth frame (default %(default)s)")
    add("--originals", type=Path, nargs="*", default=[], help="adopted files, in the order of the bundles")
    add("--pictures", type=int, default=200, help="pictures to compare class ids on (default %(default)s)")
    add("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    frames = list(open_drives([args.judge], start_s=args.start)[0].read())
    results: dict[str, Any] = {}
    for index, name in enumerate(args.bundles):
        folder = args.out / f"calibrated_{Path(name).name}"
        begin = time.monotonic()
        calibrate(name, folder, args)
        results[name] = {"calibrated_s": round(time.monotonic() - begin, 1)}
        monitor = load_bundle(folder)
        if index < len(args.originals):
            unequal = unequal_pictures(monitor, args.originals[index], frames[: args.pictures])
            results[name]["pictures"] = min(args.pictures, len(frames))
            results[name]["pictures_with_other_classes"] = unequal
        results[name]["above"] = judge(monitor, frames[:: args.step], name)
        draw(monitor, frames[len(frames) // 2], args.out / f"overlay_{Path(name).name}.png")
    report(results)
    write_json(args.out / "report.json", results)


def calibrate(name: str, out: Path, args: argparse.Namespace) -> None:
    """Calibrate a bundle for 1 % of the frames."""
    command = [sys.executable, "-m", "ls_ood_monitor.cli.main", "calibrate", str(args.calibrate), "--out", str(out)]
    command += ["--bundle", str(EMBEDDED_BUNDLE if name == "street" else name), "--block", args.block]
    command += ["--target-rate", "0.01", "--sensitivity-minutes", "0"]
    subprocess.run(command + (["--end", str(args.end)] if args.end else []), check=True, capture_output=True)


def unequal_pictures(monitor: OodMonitor, original: Path, frames: list[Frame]) -> int:
    """Pictures in which any class id differs from that of the file in ONNX Runtime alone."""
    from ls_ood_monitor.networks.adopted_engine import network_input
    from ls_ood_monitor.networks.adopted_pass import AdoptedPass

    frame_pass = monitor.frame_pass
    assert isinstance(frame_pass, AdoptedPass)
    settings, spec = frame_pass.settings, frame_pass.preprocess_spec
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(original), options, providers=["CPUExecutionProvider"])
    unequal = 0
    for frame in frames:
        values = network_input(resize_image(frame.image, spec)[None], settings.input, spec)
        (output,) = session.run([settings.output.class_ids or settings.output.scores], {settings.input.name: values})
        ids = output if settings.output.class_ids else output.argmax(axis=1)
        unequal += not np.array_equal(ids.reshape(ids.shape[-2:]), frame_pass.begin([frame.image]).class_ids[0])
    return unequal


def judge(monitor: OodMonitor, frames: list[Frame], name: str) -> dict[str, Any]:
    """Condition -> frames above the threshold, and frames."""
    conditions = [("clean", 0), *((kind, level) for kind in ANOMALIES if kind != "identity" for level in SEVERITIES)]
    found = {}
    with progress_bar(f"Judging with {name}", len(conditions)) as update:
        for number, (kind, level) in enumerate(conditions):
            pictures = [frame.image if level == 0 else apply_anomaly(kind, frame.image, level, 0) for frame in frames]
            found[f"{kind} {level}"] = [int((scores(monitor, pictures) > monitor.threshold).sum()), len(pictures)]
            update(number + 1)
    return found


def scores(monitor: OodMonitor, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Score of each picture by the detector that raises the alarm."""
    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    runs = [monitor.begin([Frame(picture, 1, "") for picture in batch], decode=False) for batch in batches]
    return np.array([verdict.score for run in runs for verdict in run.verdicts])


def draw(monitor: OodMonitor, frame: Frame, path: Path) -> None:
    """The segmentation over a picture."""
    result = monitor.process([frame])[0]
    alarm = Alarm(frame.camera, 1, AlarmState.CLEAR, result.score, result.threshold, "")
    cv2.imwrite(str(path), draw_overlay(result, alarm, 0.5))


def report(results: dict[str, Any]) -> None:
    """One column a bundle, one row a severity."""
    console = Console()
    table = Table("frames above the threshold, %", *results, title_justify="left")
    for level, label in ((0, "clean"), *((level, f"severity {level}") for level in SEVERITIES)):
        cells = []
        for facts in results.values():
            rows = [counts for name, counts in facts["above"].items() if name.endswith(f" {level}")]
            hits, total = (sum(column) for column in zip(*rows, strict=True))
            low, high = wilson_interval(hits, total)
            cells.append(f"{100 * hits / total:.0f} ({100 * low:.0f} to {100 * high:.0f})")
        table.add_row(label, *cells)
    console.print(table)
    for name, facts in results.items():
        console.print(name, {key: value for key, value in facts.items() if key != "above"}, highlight=False)


if __name__ == "__main__":
    main()
