"""Soak test: four clean cameras at 10 Hz for half an hour; nothing may stop the vehicle, and no memory may grow.

    python benchmarks/soak.py --minutes 30 --out soak_out

Every ten seconds it samples the resident memory of both nodes, the size of /dev/shm, and the number of judged frames. It
passes when no STOP was commanded after the start, and when over the second half, after every cache has filled, neither memory
nor /dev/shm grew by more than 1 %. Writes soak.json and soak.png. The pictures are of the procedural (synthetic) street,
shrunk to the network's input.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib as mpl
import psutil
from arrivals import percentiles
from command_line import exit_code
from support.rig import Rig, clean_pictures

from ls_ood_monitor.cli.console import console, progress_bar, write_json
from ls_ood_monitor.core.types import FallbackMode
from ls_ood_monitor.ros.environment import private_domain, ros_environment
from ls_ood_monitor.street import CAMERAS

RATE_HZ = 10.0
SAMPLE_S = 10.0
#: Largest growth over the second half, as a share: allocators hold back some memory.
MAX_GROWTH = 0.01
#: What must not grow, and its label in the picture.
MEMORY = {"perception_mb": "perception_node", "supervisor_mb": "supervisor_node", "shm_mb": "/dev/shm"}


def resident_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def growth(values: list[float]) -> float:
    """Share by which the lowest of the last tenth exceeds the lowest of the tenth that begins the second half.

    The lowest, because a sample within a pass also holds the activations of a batch.
    """
    half, tenth = len(values) // 2, max(1, len(values) // 10)
    return min(values[-tenth:]) / min(values[half : half + tenth]) - 1.0


def run(minutes: float, out: Path) -> dict[str, Any]:
    """The soak; rclpy must be initialised."""
    samples: list[dict[str, float]] = []
    supervisor = {"alarm_timeout_s": 1.0}
    with Rig(clean_pictures(CAMERAS, 60), out / "logs", dict(os.environ), {}, supervisor, RATE_HZ) as rig:
        first_alarm, first_decision = len(rig.observer.alarms()), len(rig.observer.decisions())
        judged = 0
        started = time.monotonic()
        count = max(1, round(minutes * 60.0 / SAMPLE_S))
        with progress_bar("Soaking", count) as update:
            for index in range(count):
                time.sleep(max(0.0, started + (index + 1) * SAMPLE_S - time.monotonic()))
                rig.check()
                judged, before = len(rig.observer.alarms(first_alarm)), judged
                sample = {
                    "minute": (time.monotonic() - started) / 60.0,
                    "perception_mb": resident_mb(rig.perception.pid),
                    "supervisor_mb": resident_mb(rig.supervisor.pid),
                    "shm_mb": psutil.disk_usage("/dev/shm").used / 2**20,
                    "judged": float(judged - before),
                }
                samples.append(sample)
                update(index + 1)
        duration_s = time.monotonic() - started
        alarms, decisions = rig.observer.alarms(first_alarm), rig.observer.decisions(first_decision)
    scored = [heard.alarm.camera for heard in alarms if isfinite(heard.alarm.score)]
    modes = [heard.mode for heard in decisions]
    return {
        "minutes": duration_s / 60.0,
        "cameras": len(CAMERAS),
        "rate_hz": RATE_HZ,
        "sent": round(duration_s * RATE_HZ) * len(CAMERAS),
        "judged": {camera: scored.count(camera) for camera in CAMERAS},
        "modes": {mode.name: modes.count(mode) for mode in FallbackMode},
        "stops": sorted({heard.reason for heard in decisions if heard.mode is FallbackMode.STOP}),
        "latency_ms": percentiles(heard.latency_ms for heard in alarms),
        "growth": {name: growth([sample[name] for sample in samples]) for name in MEMORY},
        "samples": samples,
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Memory over time."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    minutes = [sample["minute"] for sample in report["samples"]]
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for name, label in MEMORY.items():
        axes.plot(minutes, [sample[name] for sample in report["samples"]], label=label)
    title = f"{report['cameras']} cameras at {report['rate_hz']:g} Hz: resident memory"
    axes.set(xlabel="minutes", ylabel="MB", ylim=(0, None), title=title)
    axes.legend(loc="center right")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> int:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="default %(default)s")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    os.environ.update(ros_environment(private_domain()))  # before rclpy, which reads it once
    import rclpy

    rclpy.init()
    report = run(args.minutes, args.out)
    rclpy.try_shutdown()
    write_json(args.out / "soak.json", report)
    draw(report, args.out / "soak.png")
    latency = report["latency_ms"]
    console.print(
        f"{report['minutes']:.1f} min: {sum(report['judged'].values())} of {report['sent']} frames judged (the newest "
        f"wins), image to alarm {latency['p50']:.0f} / {latency['p95']:.0f} / {latency['p99']:.0f} ms (p50 / p95 / p99); "
        f"decisions {report['modes']}",
        soft_wrap=True,
    )
    for name, share in report["growth"].items():
        values = [sample[name] for sample in report["samples"]]
        console.print(f"{name}: {min(values):.1f} to {max(values):.1f}, over the second half {share:+.2%}")
    failed = [f"STOP: {reason}" for reason in report["stops"]]
    failed += [f"{name} grew by {share:.1%}" for name, share in report["growth"].items() if share > MAX_GROWTH]
    console.print("\n".join(failed) if failed else "[bold green]PASSED[/]: no stop, nothing grew")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
