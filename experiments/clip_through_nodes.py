"""Runs a video of a clean drive through the real nodes: calibrates on its first half, judges the second half.

    python benchmarks/clip_through_nodes.py VIDEO --out DIR [--stills PICTURE...]

The second half is played clean and under synthetic anomalies; the table gives, per detector of the bundle, the share of
frames above the threshold with its 95 % Wilson interval. Frames of a video are nearly equal to their neighbours, so the
interval is narrower than the truth; and one short clip says nothing about false alarms per hour.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import load_bundle, verify_bundle
from ls_ood_monitor.core.intervals import wilson_interval
from ls_ood_monitor.core.types import AlarmState, Frame
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.bags import FrameBagWriter, bag_info, iter_raw
from ls_ood_monitor.ros.environment import private_domain, ros_environment
from ls_ood_monitor.ros.processes import NodeProcess, wait_until
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments

CAMERA, START_NS = "front", 1_700_000_000_000_000_000
CONDITIONS = [("identity", 1)] + [(name, level) for name in ("fog", "blur", "dark", "mud") for level in (1, 3, 5)]


def video_frames(path: Path) -> tuple[list[np.ndarray], float]:
    """All frames of a video, BGR, and its rate."""
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames, float(video.get(cv2.CAP_PROP_FPS))


def write_bag(path: Path, frames: list[np.ndarray], rate_hz: float) -> None:
    """One camera, raw images."""
    with FrameBagWriter(path) as writer:
        for index, frame in enumerate(frames):
            writer.write(CAMERA, frame, START_NS + round(index * 1e9 / rate_hz))


def run_condition(observer, publishers, bag: Path, rate: float) -> list:
    """Play one bag to the running nodes; the alarms of its frames."""
    from ls_ood_monitor.ros.bag_clock import BagClock
    from ls_ood_monitor.ros.player import play

    before, decisions = len(observer.alarms()), len(observer.decisions())
    sent = sum(play(iter_raw(bag), publishers, clock=BagClock(rate), restamp=True).values())
    with suppress(DataError):  # a frame lost on the way shows in the table
        wait_until(lambda: len(judged(observer.alarms(before))) >= sent, "the last alarm", 2.0)
    return [sent, judged(observer.alarms(before)), observer.decisions(decisions)]


def judged(alarms: list) -> list:
    """Alarms that carry a score."""
    return [heard for heard in alarms if np.isfinite(heard.alarm.score)]


def nodes_on(bundle: Path, bags: dict[str, Path], out: Path, rate: float) -> Iterator[tuple[str, list]]:
    """Run every bag through a fresh pair of nodes on one bundle."""
    environment = ros_environment(private_domain())
    os.environ.update(environment)
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from ls_ood_monitor.ros.observer import MonitorObserver
    from ls_ood_monitor.ros.player import make_publishers, wait_for_subscribers

    rclpy.init()
    observer = MonitorObserver()
    executor = SingleThreadedExecutor()
    executor.add_node(observer)
    threading.Thread(target=executor.spin, daemon=True).start()
    publishers = make_publishers(observer, {f"/{CAMERA}/image": "sensor_msgs/msg/Image"})
    for name, bag in bags.items():
        perception = {"cameras": [CAMERA], "bundle_path": str(bundle), "autostart": True, "image_timeout_s": 5.0}
        with (
            NodeProcess(
                "supervisor_node",
                {"cameras": [CAMERA]},
                environment,
                out / "logs" / f"supervisor_{name}.log",
                ("ood_alarm:=/perception_node/ood_alarm",),
            ),
            NodeProcess("perception_node", perception, environment, out / "logs" / f"perception_{name}.log"),
        ):
            wait_for_subscribers(publishers, 60.0)
            wait_until(lambda: observer.count_publishers("/perception_node/ood_alarm"), "the alarm topic")
            yield name, run_condition(observer, publishers, bag, rate)
        wait_until(lambda: publishers[f"/{CAMERA}/image"].get_subscription_count() == 0, "the end of the node")
    executor.shutdown()
    observer.destroy_node()
    rclpy.try_shutdown()
    remove_orphaned_segments()


def main() -> None:
    """Write bags, calibrate, play, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--rate", type=float, default=0.5, help="speed of replay; 0.5 lets a slow CPU judge every frame"
    )
    parser.add_argument(
        "--stills", type=Path, nargs="*", default=[], help="pictures of another camera, judged without nodes"
    )
    args = parser.parse_args()
    console = Console(width=130)
    args.out.mkdir(parents=True)
    frames, fps = video_frames(args.video)
    half = len(frames) // 2
    write_bag(args.out / "first_half", frames[:half], fps)
    bundle = args.out / "bundle"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ls_ood_monitor.cli.main",
            "calibrate",
            str(args.out / "first_half"),
            "--out",
            str(bundle),
            "--block",
            "0.5",
            "--target-rate",
            "0.01",
        ],
        check=True,
    )
    thresholds = {name: entry["value"] for name, entry in verify_bundle(bundle).content["thresholds"].items()}
    default = verify_bundle(bundle).content["detector"]
    bags = {}
    for name, severity in CONDITIONS:
        bags[f"{name}_{severity}"] = args.out / f"{name}_{severity}"
        disturbed = [apply_anomaly(name, frame, severity, seed=0) for frame in frames[half:]]
        write_bag(bags[f"{name}_{severity}"], disturbed, fps)
    console.print(
        f"{bag_info(bags['identity_1']).duration_s:.1f} s at {fps:g} Hz, {len(frames) - half} frames a condition"
    )
    table = Table(
        "condition",
        "sent",
        "judged",
        *(f"{name}" for name in thresholds),
        "alarm raised",
        "first stop",
        "p50 / p95 / p99 ms",
    )
    report = {}
    for name, (sent, alarms, decisions) in nodes_on(bundle, bags, args.out, args.rate):
        shares = {}
        for detector, threshold in thresholds.items():
            key = "ood_score" if detector == default else f"score.{detector}"
            above = sum(float(heard.values[key]) > threshold for heard in alarms)
            low, high = wilson_interval(above, len(alarms))
            shares[detector] = {"above": above, "share": above / len(alarms), "low": low, "high": high}
        raised = sum(heard.alarm.state is AlarmState.RAISED for heard in alarms) / len(alarms)
        begin = alarms[0].at_ns
        stops = [
            heard.at_ns for heard in decisions if heard.mode.name == "STOP" and "out of distribution" in heard.reason
        ]
        stop = (stops[0] - begin) / 1e9 if stops else None
        latency = np.percentile([heard.latency_ms for heard in alarms], [50, 95, 99])
        report[name] = {
            "sent": sent,
            "judged": len(alarms),
            "detectors": shares,
            "raised": raised,
            "first_stop_s": stop,
            "latency_ms": latency.tolist(),
        }
        table.add_row(
            name,
            str(sent),
            str(len(alarms)),
            *(f"{s['share']:.1%} ({s['low']:.1%}..{s['high']:.1%})" for s in shares.values()),
            f"{raised:.0%}",
            "-" if stop is None else f"{stop:.2f} s",
            " / ".join(f"{value:.0f}" for value in latency),
        )
    console.print(table)
    for label, path in (("embedded (synthetic street)", None), ("calibrated on the clip", bundle)):
        monitor = load_bundle(path)
        for still in args.stills:
            result = monitor.process([Frame(cv2.imread(str(still)), 1, CAMERA)])[0]
            ratios = {name: round(score / monitor.thresholds[name].value, 2) for name, score in result.scores.items()}
            console.print(f"{still.name} under the bundle {label}: score / threshold {ratios}")
            report.setdefault("stills", {}).setdefault(label, {})[still.name] = ratios
    (args.out / "report.json").write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
