"""Plays a video of a clean drive to the real nodes: calibrates on its first half, judges the second half.

    python experiments/clip_through_nodes.py VIDEO --out DIR [--stills PICTURE...]
    python experiments/clip_through_nodes.py VIDEO --out DIR --bundle ADOPTED --cameras 4 --rate 0.1

The second half is played clean and under synthetic anomalies. The table gives, for each detector of the bundle, the share of
frames above the threshold with its 95 % Wilson interval. Neighbouring frames of a video are nearly equal, so the true
interval is wider; and one short clip says nothing about false alarms an hour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import load_bundle, verify_bundle
from ls_ood_monitor.cli.console import write_json
from ls_ood_monitor.core.causes import CauseKind
from ls_ood_monitor.core.intervals import wilson_interval
from ls_ood_monitor.core.types import AlarmState, Frame
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.bags import FrameBagWriter, iter_raw
from ls_ood_monitor.ros.environment import private_domain, ros_environment
from ls_ood_monitor.ros.processes import NodeProcess, wait_until
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments

CAMERAS, START_NS = ("front", "left", "right", "rear"), 1_700_000_000_000_000_000
ANOMALIES, SEVERITIES = ("fog", "blur", "dark", "mud"), (1, 3, 5)

Picture = NDArray[np.uint8]


def video_frames(path: Path) -> tuple[list[Picture], float]:
    """All frames of a video, BGR, and its rate."""
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(np.asarray(read[1], np.uint8))
    return frames, float(video.get(cv2.CAP_PROP_FPS))


def write_bag(path: Path, frames: Sequence[Picture], rate_hz: float, cameras: Sequence[str]) -> Path:
    """Raw images; all cameras see the same."""
    with FrameBagWriter(path) as writer:
        for index, frame in enumerate(frames):
            for camera in cameras:
                writer.write(camera, frame, START_NS + round(index * 1e9 / rate_hz))
    return path


def play_to_nodes(
    bundle: Path, bags: Mapping[str, Path], logs: Path, rate: float, cameras: Sequence[str]
) -> Iterator[tuple[str, int, list[Any], list[Any]]]:
    """Each bag's name, images sent, alarms with a score, and decisions, by a fresh pair of nodes for each bag."""
    environment = ros_environment(private_domain())
    os.environ.update(environment)  # before rclpy, which reads it once
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from ls_ood_monitor.ros.bag_clock import BagClock
    from ls_ood_monitor.ros.observer import MonitorObserver
    from ls_ood_monitor.ros.player import make_publishers, play, wait_for_subscribers

    rclpy.init()
    observer = MonitorObserver()
    executor = SingleThreadedExecutor()
    executor.add_node(observer)
    threading.Thread(target=executor.spin, daemon=True).start()
    publishers = make_publishers(observer, {f"/{camera}/image": "sensor_msgs/msg/Image" for camera in cameras})
    supervisor = {"cameras": list(cameras)}
    perception = {"cameras": list(cameras), "bundle_path": str(bundle), "autostart": True, "image_timeout_s": 5.0}
    remaps = ("ood_alarm:=/perception_node/ood_alarm",)
    for name, bag in bags.items():
        with (
            NodeProcess("supervisor_node", supervisor, environment, logs / f"supervisor_{name}.log", remaps),
            NodeProcess("perception_node", perception, environment, logs / f"perception_{name}.log"),
        ):
            wait_for_subscribers(publishers, 60.0)
            wait_until(lambda: observer.count_publishers("/perception_node/ood_alarm"), "the alarm topic")
            first_alarm, first_decision = len(observer.alarms()), len(observer.decisions())

            def scored(first: int = first_alarm) -> list[Any]:
                return [heard for heard in observer.alarms(first) if isfinite(heard.alarm.score)]

            times_s: list[float] = []
            play(
                iter_raw(bag),
                publishers,
                clock=BagClock(rate),
                restamp=True,
                on_message=lambda _message, at_s, heard=times_s: heard.append(at_s),
            )
            sent = len(times_s)
            with suppress(DataError):  # a frame lost on the way is visible in the table
                wait_until(lambda scored=scored, sent=sent: len(scored()) >= sent, "the last alarm", 2.0)
            yield name, sent, scored(), observer.decisions(first_decision)
        wait_until(lambda: publishers[f"/{cameras[0]}/image"].get_subscription_count() == 0, "the end of the node")
    executor.shutdown()
    observer.destroy_node()
    rclpy.try_shutdown()
    remove_orphaned_segments()


def figures_of(
    sent: int, alarms: Sequence[Any], decisions: Sequence[Any], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Figures of one condition."""
    shares = {}
    for detector, threshold in manifest["thresholds"].items():
        key = "ood_score" if detector == manifest["detector"] else f"score.{detector}"
        above = sum(float(heard.values[key]) > threshold["value"] for heard in alarms)
        low, high = wilson_interval(above, len(alarms))
        shares[detector] = {"above": above, "share": above / len(alarms), "low": low, "high": high}
    stops = [heard for heard in decisions if heard.mode.name == "STOP" and heard.because == CauseKind.SUDDEN.value]
    return {
        "sent": sent,
        "judged": len(alarms),
        "detectors": shares,
        "raised": sum(heard.alarm.state is AlarmState.RAISED for heard in alarms) / len(alarms),
        "first_stop_s": (stops[0].at_ns - alarms[0].at_ns) / 1e9 if stops else None,
        "latency_ms": np.percentile([heard.latency_ms for heard in alarms], [50, 95, 99]).tolist(),
    }


def table_of(conditions: Mapping[str, Mapping[str, Any]], detectors: Sequence[str]) -> Table:
    """One row a condition."""
    table = Table("condition", "sent", "judged", *detectors, "alarm raised", "first stop", "p50 / p95 / p99 ms")
    for name, row in conditions.items():
        table.add_row(
            name,
            str(row["sent"]),
            str(row["judged"]),
            *(f"{s['share']:.1%} ({s['low']:.1%}..{s['high']:.1%})" for s in row["detectors"].values()),
            f"{row['raised']:.0%}",
            "-" if row["first_stop_s"] is None else f"{row['first_stop_s']:.2f} s",
            " / ".join(f"{value:.0f}" for value in row["latency_ms"]),
        )
    return table


def main() -> None:
    """Write bags, calibrate, play, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--rate", type=float, default=0.5, help="speed of replay; 0.5 lets a slow CPU judge every frame"
    )
    parser.add_argument("--bundle", type=Path, help="network to calibrate (default: the embedded bundle's)")
    parser.add_argument("--cameras", type=int, choices=(1, 2, 3, 4), default=1, help="cameras that see the video")
    parser.add_argument("--anomalies", nargs="*", default=ANOMALIES, help="default: all four")
    parser.add_argument("--severities", nargs="*", type=int, default=SEVERITIES, help="default: 1 3 5")
    parser.add_argument(
        "--stills", type=Path, nargs="*", default=[], help="pictures of another camera, judged without nodes"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    frames, fps = video_frames(args.video)
    half = len(frames) // 2
    cameras = CAMERAS[: args.cameras]
    bundle, first_half = args.out / "bundle", write_bag(args.out / "first_half", frames[:half], fps, cameras[:1])
    options = ["--bundle", str(args.bundle)] if args.bundle else []
    options += ["--out", str(bundle), "--block", "0.5", "--target-rate", "0.01"]
    subprocess.run(
        [sys.executable, "-m", "ls_ood_monitor.cli.main", "calibrate", str(first_half), *options], check=True
    )
    manifest = verify_bundle(bundle).content
    bags = {}
    for name, severity in [("identity", 1), *product(args.anomalies, args.severities)]:
        disturbed = [apply_anomaly(name, frame, severity, seed=0) for frame in frames[half:]]
        bags[f"{name}_{severity}"] = write_bag(args.out / f"{name}_{severity}", disturbed, fps, cameras)
    conditions = {
        name: figures_of(sent, alarms, decisions, manifest)
        for name, sent, alarms, decisions in play_to_nodes(bundle, bags, args.out / "logs", args.rate, cameras)
    }
    console = Console(width=130)
    console.print(f"{fps:g} Hz, {len(frames) - half} frames a condition")
    console.print(table_of(conditions, list(manifest["thresholds"])))
    stills: dict[str, dict[str, dict[str, float]]] = {}
    for label, path in (("embedded (synthetic street)", None), ("calibrated on the clip", bundle)):
        monitor = load_bundle(path)
        for still in args.stills:
            result = monitor.process([Frame(np.asarray(cv2.imread(str(still)), np.uint8), 1, CAMERAS[0])])[0]
            ratios = {name: round(score / monitor.thresholds[name].value, 2) for name, score in result.scores.items()}
            console.print(f"{still.name} under the bundle {label}: score / threshold {ratios}")
            stills.setdefault(label, {})[still.name] = ratios
    write_json(args.out / "report.json", {**conditions, **({"stills": stills} if stills else {})})


if __name__ == "__main__":
    main()
