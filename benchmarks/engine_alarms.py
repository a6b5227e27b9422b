"""Agreement of the engines' alarms: frames of the detection benchmark, judged by each engine with the bundle's thresholds.

    python benchmarks/engine_alarms.py --drives 30 --json engines.json

Unseen drives of the procedural (synthetic) street, clean and disturbed. Counted, by detector, are frames that are above the
threshold by an engine and not by eager torch in single precision, or the other way round; exit code 1 where there is one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from command_line import count, exit_code, make_parser, read_arguments
from numpy.typing import NDArray

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import console, progress_bar, write_json
from ls_ood_monitor.comparison.pictures import PictureRenderer
from ls_ood_monitor.comparison.protocols import street_protocol
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.engines.device import choose_device
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.profiling.frame_cost import EngineChoice


@dataclass
class Agreement:
    """One detector by one engine, against eager torch in single precision."""

    engine: str
    detector: str
    frames: int = 0  # judged by both
    above: int = 0  # of them above the threshold by eager torch
    different: int = 0  # of them on the other side of it by this engine
    largest: float = 0.0  # difference of two scores, as a share of the threshold

    def add(self, expected: NDArray[np.float64], scores: NDArray[np.float64], threshold: float) -> None:
        """Count further frames."""
        self.frames += len(expected)
        self.above += int((expected > threshold).sum())
        self.different += int(((expected > threshold) != (scores > threshold)).sum())
        self.largest = max(self.largest, float((np.abs(expected - scores) / abs(threshold)).max()))


def scores_of(monitor: OodMonitor, images: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float64]]:
    """Scores of each detector, each frame judged by itself, as on a CPU of a vehicle."""
    frames = [monitor.begin([Frame(image, 1, "")], decode=False).verdicts[0].scores for image in images]
    return {name: np.array([scores[name] for scores in frames]) for name in monitor.detectors}


def main() -> int:
    """Judge, count, print. Wrong options are found before a bundle is loaded."""
    parser = make_parser(__doc__)
    parser.add_argument("--bundle", type=Path, help="(default: the embedded one)")
    parser.add_argument("--engines", help="for example onnx,compile or eager:bf16 (default: all of this machine)")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--drives", type=count, default=6, help="unseen drives, four cameras each (default %(default)s)"
    )
    parser.add_argument("--kinds", help="anomalies, separated by commas (default: all)")
    parser.add_argument("--processes", type=count, default=os.cpu_count() or 1, help="workers that make pictures")
    args = read_arguments(parser)
    default = "eager,eager:bf16" if choose_device(args.device).type == "cuda" else "onnx,compile"
    engines = [EngineChoice.parse(text) for text in (args.engines or default).split(",")]
    kinds = {"kinds": tuple(args.kinds.split(","))} if args.kinds else {}
    protocol = street_protocol(drives=args.drives, per_drive=1, **kinds)
    reference = load_bundle(args.bundle, device="cpu", engine="eager")
    monitors = {
        str(choice): load_bundle(args.bundle, device=args.device, engine=choice.engine, precision=choice.precision)
        for choice in engines
    }
    renderer = PictureRenderer(reference.frame_pass.preprocess_spec, seed=0, processes=args.processes)
    table = {(engine, detector): Agreement(engine, detector) for engine in monitors for detector in reference.detectors}
    with progress_bar("pictures", protocol.control.count or 0) as update, renderer.opened():
        for number, rendered in enumerate(renderer.render(protocol.control.read(), protocol.conditions)):
            expected = scores_of(reference, rendered.images)
            for engine, monitor in monitors.items():
                scores = scores_of(monitor, rendered.images)
                for detector, values in expected.items():
                    table[engine, detector].add(values, scores[detector], reference.thresholds[detector].value)
            update(number + 1)
    for row in table.values():
        console.print(
            f"{row.engine}, {row.detector}: {row.frames} frames, {row.above} above the threshold, "
            f"{row.different} judged otherwise, scores differ by at most {row.largest:.2g} of it",
            soft_wrap=True,
        )
    report = {
        "machine": describe_machine(),
        "device": args.device,
        "bundle": reference.bundle_id,
        "conditions": list(map(str, protocol.conditions)),
        "engines": [asdict(row) for row in table.values()],
    }
    write_json(args.json, report)
    return int(any(row.different for row in table.values()))


if __name__ == "__main__":
    sys.exit(exit_code(main))
