"""Soak test: four clean cameras at 10 Hz for half an hour; nothing may stop the vehicle, and nothing may grow.

    python benchmarks/soak.py --minutes 30 --out soak_out

Every ten seconds it notes the resident memory of both nodes, the size of /dev/shm, and what was judged. It passes when no
STOP was commanded after the start, and when over the second half, after every cache has filled, neither memory nor
/dev/shm grew by more than 1 %. Draws soak.png. The pictures are of the procedural (synthetic) street, shrunk to the
network's input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
from rig import Rig, clean_pictures

from ls_ood_monitor.cli.console import progress_bar
from ls_ood_monitor.core.types import FallbackMode
from ls_ood_monitor.ros.environment import private_domain, ros_environment
from ls_ood_monitor.street import CAMERAS

RATE_HZ = 10.0
SAMPLE_S = 10.0
#: Memory may grow so much over the second half: allocators breathe.
GROWTH = 0.01


def resident_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024.0
    raise RuntimeError(f"process {pid} tells no VmRSS")


def shared_mb() -> float:
    """Everything in /dev/shm, MB."""
    total = 0
    for path in Path("/dev/shm").iterdir():
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue  # gone meanwhile
    return total / 2**20


def growth(values: list[float]) -> float:
    """Share by which the lowest of the last tenth lies above the lowest of the tenth that begins the second half.

    The lowest, because a sample in the middle of a pass also holds the activations of a batch.
    """
    half, tenth = len(values) // 2, max(1, len(values) // 10)
    return min(values[-tenth:]) / min(values[half : half + tenth]) - 1.0


def run(minutes: float, out: Path) -> dict[str, Any]:
    """The soak; rclpy must be initialised."""
    supervisor = {"alarm_timeout_s": 1.0}
    samples: list[dict[str, float]] = []
    judged = dict.fromkeys(CAMERAS, 0)
    latencies: list[float] = []
    stops: list[str] = []
    modes = {mode.name: 0 for mode in FallbackMode}
    with Rig(clean_pictures(CAMERAS, 60), out / "logs", dict(os.environ), {}, supervisor, RATE_HZ) as rig:
        alarms, decisions = len(rig.observer.alarms()), len(rig.observer.decisions())
        started = time.monotonic()
        count = round(minutes * 60.0 / SAMPLE_S)
        with progress_bar("Soaking", count) as update:
            for index in range(count):
                time.sleep(max(0.0, started + (index + 1) * SAMPLE_S - time.monotonic()))
                rig.check()
                new_alarms, new_decisions = rig.observer.alarms(alarms), rig.observer.decisions(decisions)
                alarms, decisions = alarms + len(new_alarms), decisions + len(new_decisions)
                for heard in new_alarms:
                    judged[heard.alarm.camera] += heard.alarm.score == heard.alarm.score
                latencies += [heard.latency_ms for heard in new_alarms if heard.latency_ms == heard.latency_ms]
                for heard in new_decisions:
                    modes[heard.mode.name] += 1
                stops += [heard.reason for heard in new_decisions if heard.mode is FallbackMode.STOP]
                samples.append(
                    {
                        "minute": (time.monotonic() - started) / 60.0,
                        "perception_mb": resident_mb(rig.perception.pid),
                        "supervisor_mb": resident_mb(rig.supervisor.pid),
                        "shm_mb": shared_mb(),
                        "judged": float(len(new_alarms)),
                    }
                )
                update(index + 1)
        seconds = time.monotonic() - started
    return {
        "minutes": seconds / 60.0,
        "cameras": len(CAMERAS),
        "rate_hz": RATE_HZ,
        "sent": round(seconds * RATE_HZ) * len(CAMERAS),
        "judged": judged,
        "modes": modes,
        "stops": sorted(set(stops)),
        "latency_ms": dict(zip(("p50", "p95", "p99"), np.percentile(latencies, [50, 95, 99]).tolist(), strict=True)),
        "growth": {
            name: growth([one[name] for one in samples]) for name in ("perception_mb", "supervisor_mb", "shm_mb")
        },
        "samples": samples,
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Memory over time."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    minutes = [one["minute"] for one in report["samples"]]
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for name, label in (
        ("perception_mb", "perception_node"),
        ("supervisor_mb", "supervisor_node"),
        ("shm_mb", "/dev/shm"),
    ):
        axes.plot(minutes, [one[name] for one in report["samples"]], label=label)
    axes.set(
        xlabel="minutes",
        ylabel="MB",
        ylim=(0, None),
        title=f"{report['cameras']} cameras at {report['rate_hz']:g} Hz: resident memory",
    )
    axes.legend(loc="center right")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    os.environ.update(ros_environment(private_domain()))  # before rclpy, which reads it once
    import rclpy

    rclpy.init()
    report = run(args.minutes, args.out)
    rclpy.try_shutdown()
    (args.out / "soak.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    draw(report, args.out / "soak.png")
    console = Console(width=130)
    total = sum(report["judged"].values())
    latency = report["latency_ms"]
    console.print(
        f"{report['minutes']:.1f} min: {total} of {report['sent']} frames judged (the newest wins), image to alarm "
        f"{latency['p50']:.0f} / {latency['p95']:.0f} / {latency['p99']:.0f} ms (p50 / p95 / p99); decisions {report['modes']}"
    )
    for name, share in report["growth"].items():
        values = [one[name] for one in report["samples"]]
        console.print(f"{name}: {min(values):.1f} to {max(values):.1f}, over the second half {share:+.2%}")
    failed = [f"STOP: {reason}" for reason in report["stops"]]
    failed += [f"{name} grew by {share:.1%}" for name, share in report["growth"].items() if share > GROWTH]
    console.print("\n".join(failed) if failed else "[bold green]PASSED[/]: no stop, nothing grew")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
