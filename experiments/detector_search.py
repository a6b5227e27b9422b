"""Search behind the choice of the default detector: single and combined scores on street drives reserved for choosing.

    python experiments/detector_search.py --cache rows --json search.json

Feature rows of 960 clean frames of 120 calibration drives, of 64 frames of 16 development drives (2100 to 2115) under 18
kinds of anomaly, and of 240 clean frames of 60 further drives (2116 to 2175) are computed once and kept in --cache. Every
score is fitted to the calibration drives; its threshold for 1 % comes from twelve groups of them, held out in turn. These
drives choose, so their figures are not test results; the drives that ls-ood compare reports on (4000 and on) are not used.
Synthetic throughout.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.covariance import LedoitWolf
from threadpoolctl import threadpool_limits

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import progress_bar, require_file_place, write_json
from ls_ood_monitor.comparison.conditions import CLEAN_CONDITION, HARMLESS, OOD, make_conditions
from ls_ood_monitor.comparison.pictures import Picture, PictureRenderer
from ls_ood_monitor.comparison.protocols import ALL_KINDS
from ls_ood_monitor.core.detectors import SpatialDetector
from ls_ood_monitor.core.detectors.spatial import blocks_of
from ls_ood_monitor.core.threshold import quantile_threshold
from ls_ood_monitor.features import NetworkPass, compute_features, pool_cells
from ls_ood_monitor.frame_pass import FramePass
from ls_ood_monitor.street import CAMERAS
from ls_ood_monitor.street.shots import CALIBRATION_DRIVES, spread_shots
from ls_ood_monitor.vision.preprocess import preprocess

Values = NDArray[np.float64]
Rows = dict[str, Values]

GROUPS, TARGET = 12, 0.01
EIGHT = ("fog", "blur", "noise", "dark", "mud", "occlusion", "rain", "snow")
CONDITIONS = make_conditions(ALL_KINDS, (1, 2, 3))
SETS = {
    "calibration": (CALIBRATION_DRIVES[:120], 2, (CLEAN_CONDITION,)),
    "disturbed": (range(2100, 2116), 1, CONDITIONS),
    "clean": (range(2116, 2176), 1, (CLEAN_CONDITION,)),
}


def rows_of(frame_pass: FramePass, images: NDArray[np.uint8]) -> Rows:
    """Input of the scores: channel means and log standard deviations of early and middle stages, and later features."""
    with torch.inference_mode():
        pictures = preprocess(list(images), frame_pass.preprocess_spec, frame_pass.device)
        run = NetworkPass(frame_pass.network, frame_pass.network.encode(pictures), frame_pass.averaging)
        stages = run.encoded.stages[:-1]
        squares = torch.cat([pool_cells(stage * stage) for stage in stages], dim=2)
        features = compute_features(run, ("cells", "stage_means", "latent_means", "entropies")).rows
        spread = np.maximum(squares.double().numpy() - features["cells"] ** 2, 1e-8)
        whole = torch.cat([stage.var(dim=(2, 3)) for stage in stages], dim=1).double().numpy()
        return {
            **features,
            "cell_spread": 0.5 * np.log(spread),
            "spread": 0.5 * np.log(np.maximum(whole, 1e-8)),
            "decoder": run.penultimate.mean(dim=(2, 3)).double().numpy(),
        }


def collect(cache: Path, name: str, frame_pass: FramePass) -> Rows:
    """Rows of one set, (frames, conditions, ...), with the drive of each frame; read from ``cache`` if they exist."""
    file = cache / f"{name}.npz"
    if not file.exists():
        drives, moments, conditions = SETS[name]
        shots = sorted(spread_shots(drives, moments, CAMERAS), key=lambda shot: (shot.drive, shot.camera, shot.time_s))
        parts: list[Rows] = []
        renderer = PictureRenderer(frame_pass.preprocess_spec, seed=0, processes=2)
        with renderer.opened(), progress_bar(f"Rows: {name}", len(shots)) as update:
            pictures = (Picture(str(shot.drive), shot) for shot in shots)
            for rendered in renderer.show(pictures, conditions):
                chunks = [
                    rows_of(frame_pass, rendered.images[start : start + 16]) for start in range(0, len(conditions), 16)
                ]
                parts.append({key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]})
                update(len(parts))
        stacked = {key: np.stack([part[key] for part in parts]).astype(np.float32) for key in parts[0]}
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, drives=[shot.drive for shot in shots], **stacked)
    return {key: values.astype(np.float64) for key, values in np.load(file).items()}


def log_distance(centred: Values, precision: Values) -> Values:
    """Log of the squared Mahalanobis distance over its dimension."""
    return np.log(np.maximum(np.einsum("...e,...e->...", centred @ precision, centred) / centred.shape[-1], 1e-12))


class Score:
    """A distance on one scale: of all places of a picture the mean of the ``top`` strangest.

    Args:
        places: rows to (..., places, channels).
        top: how many places.
        within: covariance of frames about the mean of their drive, not about the mean of all.
    """

    def __init__(self, places: Callable[[Rows], Values], top: int = 1, within: bool = False) -> None:
        self.places, self.top, self.within = places, top, within

    def fit(self, rows: Rows) -> None:
        """Learn from clean rows (N, ...)."""
        data = self.places(rows)
        self.mean = data.mean(axis=0)
        centre = self.mean
        if self.within:
            _, index = np.unique(rows["drives"], return_inverse=True)
            centre = np.stack([data[index == drive].mean(axis=0) for drive in range(index.max() + 1)])[index]
        residuals = (data - centre).reshape(-1, data.shape[-1])
        drawn = np.random.default_rng(0).permutation(len(residuals))[:5000]
        self.precision = LedoitWolf().fit(residuals[drawn]).get_precision()
        self.level = log_distance(data - self.mean, self.precision).mean(axis=0)

    def __call__(self, rows: Rows) -> Values:
        """Score of each frame; larger = more OoD."""
        beyond = log_distance(self.places(rows) - self.mean, self.precision) - self.level
        return np.sort(beyond, axis=-1)[..., -self.top :].mean(axis=-1)


class Spatial:
    """The package's detector, for comparison with the terms it is made of."""

    def fit(self, rows: Rows) -> None:
        """Learn from clean rows."""
        self.detector = SpatialDetector().fit(rows["cells"])

    def __call__(self, rows: Rows) -> Values:
        """Score of each frame."""
        cells = rows["cells"]
        return self.detector.score(cells.reshape(-1, *cells.shape[-2:])).reshape(cells.shape[:-2])


def joined(*names: str) -> Callable[[Rows], Values]:
    """Rows side by side, as one place."""
    return lambda rows: np.concatenate([rows[name] for name in names], axis=-1)[..., None, :]


def blocks(rows: Rows) -> Values:
    """Blocks of 2 x 2 cells."""
    cells = rows["cells"]
    return blocks_of(cells.reshape(-1, *cells.shape[-2:])).reshape(*cells.shape[:-2], 12, -1)


SCORES: dict[str, Score | Spatial] = {
    "whole (multistage)": Score(joined("stage_means")),
    "whole, within drives": Score(joined("stage_means"), within=True),
    "whole and spread": Score(joined("stage_means", "spread")),
    "last stage": Score(joined("latent_means")),
    "decoder": Score(joined("decoder")),
    "entropies": Score(joined("entropies")),
    "block": Score(blocks),
    "cell": Score(lambda rows: rows["cells"]),
    "4 cells": Score(lambda rows: rows["cells"], top=4),
    "4 cells, spread": Score(lambda rows: np.concatenate([rows["cells"], rows["cell_spread"]], axis=-1), top=4),
    "spatial": Spatial(),
}
W, B, C = "whole (multistage)", "block", "cell"
COMBINED = (
    (W, C), (W, "4 cells"), (W, B, C), (W, "whole and spread", C), (W, "whole and spread", B, C), (W, C, "4 cells, spread"),
    (W, "last stage", C), (W, "decoder", C), (W, "entropies", C),
)  # fmt: skip


class Held(NamedTuple):
    """A score of the three sets: held-out calibration frames (N,), disturbed (frames, conditions), clean (frames,)."""

    held_out: Values
    disturbed: Values
    clean: Values

    def mapped(self, change: Callable[[Values], Values]) -> Held:
        """The same change of all three."""
        return Held(*map(change, self))


def measure(score: Score | Spatial, rows: dict[str, Rows]) -> Held:
    """Fit with each group of drives left out, then to all."""
    clean = {key: values[:, 0] if values.ndim > 1 else values for key, values in rows["calibration"].items()}
    groups = np.unique(clean["drives"], return_inverse=True)[1] % GROUPS
    held_out = np.empty(len(groups))
    for group in range(GROUPS):
        out = groups == group
        score.fit({key: values[~out] for key, values in clean.items()})
        held_out[out] = score({key: values[out] for key, values in clean.items()})
    score.fit(clean)
    return Held(held_out, score(rows["disturbed"]), score(rows["clean"])[:, 0])


def in_units(score: Held, high: float | None) -> Held:
    """From the median of held-out clean frames, in units of the way to their ``high`` quantile; None = no units."""
    middle = np.median(score.held_out)
    unit = 1.0 if high is None else np.quantile(score.held_out, high) - middle
    return score.mapped(lambda values: (values - middle) / unit)


def surprise(score: Held) -> Held:
    """-log p of held-out clean frames, the rarest tenth by the exponential tail of their mean excess."""
    clean = np.sort(score.held_out)
    start = np.quantile(clean, 0.9)
    excess = (clean[clean > start] - start).mean()

    def change(values: Values) -> Values:
        rank = np.searchsorted(clean, values, side="left") / len(clean)
        body = -np.log(np.maximum(1.0 - rank, 0.1))
        return np.where(values > start, -np.log(0.1) + (values - start) / excess, body)

    return score.mapped(change)


def combine(scores: Sequence[Held], how: Callable[..., Values] = np.max) -> Held:
    """One score of several, by default the largest; ``how`` reduces the first axis."""
    return Held(*(how(np.stack(values), axis=0) for values in zip(*scores, strict=True)))


def figures(above: Held) -> dict[str, float]:
    """Shares of frames above (1) the threshold, per cent."""
    rates = above.disturbed.mean(axis=0)

    def mean(kinds: Sequence[str], severities: Sequence[int]) -> float:
        chosen = [
            rate
            for rate, c in zip(rates, CONDITIONS, strict=True)
            if c.role == OOD and c.shift in kinds and c.severity in severities
        ]
        return float(np.mean(chosen))

    shares = {
        "held out": above.held_out.mean(),
        "clean": above.clean.mean(),
        "harmless": np.mean([rate for rate, c in zip(rates, CONDITIONS, strict=True) if c.role == HARMLESS]),
        "8 kinds, severity 1-2": mean(EIGHT, (1, 2)),
        "8 kinds, 3": mean(EIGHT, (3,)),
        "18 kinds, 1-2": mean(ALL_KINDS, (1, 2)),
        "18 kinds, 3": mean(ALL_KINDS, (3,)),
        **{f"object {severity}": mean(("unknown_object",), (severity,)) for severity in (1, 2, 3)},
    }
    return {name: round(100.0 * float(value), 1) for name, value in shares.items()}


def judge(score: Held, target: float = TARGET) -> Held:
    """1 where above the threshold for ``target`` of held-out clean frames."""
    threshold = quantile_threshold(score.held_out, target, origin="leave-drives-out", allow_small=True).value
    return score.mapped(lambda values: (values > threshold).astype(np.float64))


def combinations(names: Sequence[str], single: Mapping[str, Held]) -> dict[str, Held]:
    """Decisions of every way to combine these scores, by title."""
    scores, title = [single[name] for name in names], " + ".join(names)
    decisions = {f"largest, no units: {title}": judge(combine([in_units(score, None) for score in scores]))}
    for high in (0.75, 0.9, 0.95):
        decisions[f"largest, units {high:g}: {title}"] = judge(combine([in_units(score, high) for score in scores]))
    rare = [surprise(score) for score in scores]
    decisions[f"smallest p: {title}"] = judge(combine(rare))
    decisions[f"product of p (Fisher): {title}"] = judge(combine(rare, np.sum))
    for share in (0.5, 0.8) if len(scores) == 2 else ():
        targets = (TARGET * share, TARGET * (1.0 - share))
        decisions[f"target split {share:g}: {title}"] = combine(list(map(judge, scores, targets)))
    return decisions


def main() -> None:
    """Collect rows, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the rows (300 MB)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    require_file_place("--json", args.json)
    frame_pass = load_bundle(device="cpu").frame_pass
    rows = {name: collect(args.cache, name, frame_pass) for name in SETS}
    single: dict[str, Held] = {}
    with threadpool_limits(1), progress_bar("Fitting", len(SCORES)) as update:
        for number, (name, score) in enumerate(SCORES.items(), start=1):
            single[name] = measure(score, rows)
            update(number)
    decisions = {name: judge(score) for name, score in single.items()}
    for names in COMBINED:
        decisions |= combinations(names, single)
    report = {title: figures(decision) for title, decision in decisions.items()}
    table = Table(title="Frames above the threshold, %", show_edge=False)
    table.add_column("score", overflow="fold")
    for name in next(iter(report.values())):
        table.add_column(name, justify="right")
    for name, row in report.items():
        table.add_row(name, *(f"{value:.1f}" for value in row.values()))
    Console(width=170).print(table)
    write_json(args.json, report)


if __name__ == "__main__":
    main()
