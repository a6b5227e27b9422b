"""Do the engines raise the same alarms? Frames of the detection benchmark, judged by each engine with one bundle's thresholds.

    python benchmarks/engine_alarms.py --drives 30 --json engines.json

Unseen drives of the procedural (synthetic) street, clean and disturbed. Counted are frames that an engine puts above a
threshold and eager torch in single precision does not, or the other way round, by detector; exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from command_line import count, exit_code
from numpy.typing import NDArray

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import console, progress_bar, write_json
from ls_ood_monitor.comparison.pictures import PictureRenderer
from ls_ood_monitor.comparison.protocols import street_protocol
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.monitor import OodMonitor, choose_device
from ls_ood_monitor.profiling.frame_cost import EngineChoice


@dataclass
class Agreement:
    """One detector by one engine, against eager torch in single precision.

    Attributes:
        engine: which.
        detector: whose scores.
        frames: judged by both.
        above: of these, how many lie above the threshold by eager torch.
        different: how many lie on the other side of it by this engine.
        largest: difference of two scores, as a share of the threshold.
    """

    engine: str
    detector: str
    frames: int = 0
    above: int = 0
    different: int = 0
    largest: float = 0.0

    def add(self, expected: NDArray[np.float64], found: NDArray[np.float64], threshold: float) -> None:
        """Count further frames."""
        self.frames += len(expected)
        self.above += int((expected > threshold).sum())
        self.different += int(((expected > threshold) != (found > threshold)).sum())
        self.largest = max(self.largest, float((np.abs(expected - found) / abs(threshold)).max()))


def scores(monitor: OodMonitor, images: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float64]]:
    """Scores of each detector, each frame judged by itself, as on a CPU of a vehicle."""
    judged = [monitor.begin([Frame(image, 1, "")], decode=False).verdicts[0].scores for image in images]
    return {name: np.array([one[name] for one in judged]) for name in monitor.detectors}


def main() -> int:
    """Judge, count, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="(default: the embedded one)")
    parser.add_argument("--engines", help="for example onnx,compile or eager:bf16 (default: all of this machine)")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--drives", type=count, default=6, help="unseen drives, four cameras each (default %(default)s)"
    )
    parser.add_argument("--kinds", help="anomalies, separated by commas (default: all)")
    parser.add_argument("--processes", type=count, default=os.cpu_count() or 1, help="workers that make pictures")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    usual = "eager,eager:bf16" if choose_device(args.device).type == "cuda" else "onnx,compile"
    return compare(args, [EngineChoice.parse(text) for text in (args.engines or usual).split(",")])


def compare(args: argparse.Namespace, engines: list[EngineChoice]) -> int:
    """The same, of options that are read. What is wrong with the pictures is found before a bundle is loaded."""
    kinds = {"kinds": tuple(args.kinds.split(","))} if args.kinds else {}
    protocol = street_protocol(drives=args.drives, per_drive=1, **kinds)
    reference = load_bundle(args.bundle, device="cpu", engine="eager")
    monitors = {
        str(one): load_bundle(args.bundle, device=args.device, engine=one.engine, precision=one.precision)
        for one in engines
    }
    renderer = PictureRenderer(reference.frame_pass.preprocess_spec, seed=0, processes=args.processes)
    table = {(engine, detector): Agreement(engine, detector) for engine in monitors for detector in reference.detectors}
    with progress_bar("pictures", protocol.control.count or 0) as update, renderer.opened():
        for number, shown in enumerate(renderer.render(protocol.control.read(), protocol.conditions)):
            expected = scores(reference, shown.images)
            for engine, monitor in monitors.items():
                found = scores(monitor, shown.images)
                for detector, values in expected.items():
                    table[engine, detector].add(values, found[detector], reference.thresholds[detector].value)
            update(number + 1)
    for one in table.values():
        console.print(
            f"{one.engine}, {one.detector}: {one.frames} frames, {one.above} above the threshold, "
            f"{one.different} judged otherwise, scores differ by at most {one.largest:.2g} of it",
            soft_wrap=True,
        )
    write_json(
        args.json,
        {
            "machine": describe_machine(),
            "device": args.device,
            "bundle": reference.bundle_id,
            "conditions": [str(one) for one in protocol.conditions],
            "engines": [asdict(one) for one in table.values()],
        },
    )
    return int(any(one.different for one in table.values()))


if __name__ == "__main__":
    sys.exit(exit_code(main))
