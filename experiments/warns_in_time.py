"""Does the alarm come before the segmentation fails? Severity at which each happens, for every anomaly.

    python experiments/warns_in_time.py --plot warns_in_time.png --json warns_in_time.json
    python experiments/warns_in_time.py --bundle BUNDLE --cityscapes ROOT

Labelled pictures are disturbed at severity 1 to 5. The segmentation has failed where its mean IoU is a tenth below that of the
clean pictures; the alarm has come where half of the pictures score above the threshold. Pictures are those of the synthetic
street, of drives that were used for nothing else, or the validation pictures of a data set in the layout of Cityscapes. A
bundle's class names must be those of the labels; void is not counted. Disturbances are synthetic. A picture that hides things,
by dirt for example, lowers the IoU by what it hides.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ls_ood_monitor.anomalies import ANOMALIES, apply_anomaly
from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import PICTURES, progress_bar, require_file_place, write_json
from ls_ood_monitor.core.intervals import wilson_interval
from ls_ood_monitor.core.metrics import confusion_matrix, mean_iou
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.street import StreetDrive

SEVERITIES = (1, 2, 3, 4, 5)
FAILED, ALARMED = 0.9, 0.5
FIRST_DRIVE, CAMERAS, TIMES_S = 6200, ("front", "left"), (3.0, 12.0)
BATCH = 4
Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def main() -> None:
    """Disturb, judge, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="calibrated bundle (default: the embedded one)")
    parser.add_argument("--drives", type=int, default=15, help="drives of the street (default %(default)s)")
    parser.add_argument(
        "--cityscapes", type=Path, metavar="ROOT", help="a data set in the layout of Cityscapes instead"
    )
    parser.add_argument("--pictures", type=int, default=100, help="pictures of it (default %(default)s)")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    require_file_place("--plot", args.plot, PICTURES)
    require_file_place("--json", args.json)
    monitor = load_bundle(args.bundle)
    samples, names = read_samples(args)
    if names[: len(monitor.class_names)] != monitor.class_names:
        raise ConfigError(f"the labels' classes are {', '.join(names)}, the bundle's {', '.join(monitor.class_names)}.")
    conditions = [("identity", 1), *((kind, level) for kind in ANOMALIES if kind != "identity" for level in SEVERITIES)]
    figures: dict[str, Any] = {}
    with progress_bar("Judging", len(conditions)) as update:
        for number, (kind, level) in enumerate(conditions):
            figures[f"{kind} {level}"] = judge(monitor, samples, kind, level)
            update(number + 1)
    rows = compare(figures)
    report(figures["identity 1"], rows)
    write_json(args.json, {"pictures": len(samples), "figures": figures, "anomalies": rows})
    if args.plot is not None:
        draw(figures, args.plot)


def read_samples(args: argparse.Namespace) -> tuple[list[Labelled], tuple[str, ...]]:
    """Pictures with their class ids, and the names of the classes."""
    if args.cityscapes is not None:
        from ls_ood_monitor.datasets.cityscapes import CLASSES, open_cityscapes

        folder = open_cityscapes(args.cityscapes, ["val"])
        chosen = np.linspace(0, len(folder) - 1, min(args.pictures, len(folder))).round().astype(int)
        return [folder[index] for index in chosen], CLASSES.names
    from ls_ood_monitor.core.classes import CLASS_NAMES

    drives = [StreetDrive(FIRST_DRIVE + number) for number in range(args.drives)]
    return [drive.render(camera, t_s) for drive in drives for camera in CAMERAS for t_s in TIMES_S], CLASS_NAMES


def judge(monitor: OodMonitor, samples: list[Labelled], kind: str, level: int) -> dict[str, Any]:
    """Mean IoU, and the pictures above the threshold."""
    classes = len(monitor.class_names)
    confusion, above = np.zeros((classes, classes), np.int64), 0
    for batch in batches(samples):
        frames = [Frame(apply_anomaly(kind, image, level, seed), 1, "front") for image, _, seed in batch]
        for result, (_, labels, _) in zip(monitor.process(frames), batch, strict=True):
            counted = labels < classes
            confusion += confusion_matrix(result.segmentation[counted], labels[counted], classes)
            above += not result.score <= monitor.threshold
    return {"miou": float(mean_iou(confusion)), "above": above, "pictures": len(samples)}


def batches(samples: list[Labelled]) -> Iterator[list[tuple[NDArray[np.uint8], NDArray[np.uint8], int]]]:
    """Pictures, labels and a seed each."""
    numbered = [(image, labels, seed) for seed, (image, labels) in enumerate(samples)]
    for start in range(0, len(numbered), BATCH):
        yield numbered[start : start + BATCH]


def compare(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """For each anomaly the first severity at which the segmentation has failed, and at which the alarm has come."""
    clean = figures["identity 1"]["miou"]
    rows = []
    for kind in ANOMALIES:
        if kind == "identity":
            continue
        own = [figures[f"{kind} {level}"] for level in SEVERITIES]
        failed = first(own_level["miou"] < FAILED * clean for own_level in own)
        alarmed = first(own_level["above"] >= ALARMED * own_level["pictures"] for own_level in own)
        rows.append({"anomaly": kind, "fails_at": failed, "alarms_at": alarmed})
    return rows


def first(happened: Iterable[bool]) -> int | None:
    """First severity at which it happened."""
    return next((level for level, did in zip(SEVERITIES, happened, strict=True) if did), None)


def verdict(row: dict[str, Any]) -> str:
    """Whether the alarm came in time."""
    fails, alarms = row["fails_at"], row["alarms_at"]
    if fails is None:
        return "never fails"
    if alarms is None:
        return "NOT SEEN"
    return "before" if alarms < fails else "with it" if alarms == fails else "LATE"


def report(clean: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """One row an anomaly."""
    low, high = wilson_interval(clean["above"], clean["pictures"])
    title = (
        f"Clean: mean IoU {clean['miou']:.3f}, {clean['above']} of {clean['pictures']} pictures above the threshold "
        f"({100 * low:.0f} to {100 * high:.0f} %)"
    )
    table = Table("anomaly", "IoU a tenth lower from severity", "alarm from severity", "alarm comes", title=title)
    for row in rows:
        table.add_row(row["anomaly"], str(row["fails_at"] or "-"), str(row["alarms_at"] or "-"), verdict(row))
    Console().print(table)


def draw(figures: dict[str, Any], path: Path) -> None:
    """One panel an anomaly: mean IoU beside the share of pictures above the threshold, over severity."""
    from matplotlib.figure import Figure

    kinds = [kind for kind in ANOMALIES if kind != "identity"]
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(3, -(-len(kinds) // 3), sharex=True, sharey=True)
    clean = figures["identity 1"]
    levels = (0, *SEVERITIES)
    for axes, kind in zip(panels.flat, kinds, strict=False):
        own = [clean, *(figures[f"{kind} {level}"] for level in SEVERITIES)]
        axes.plot(levels, [one["miou"] / clean["miou"] for one in own], label="mean IoU, of clean")
        axes.plot(levels, [one["above"] / one["pictures"] for one in own], label="pictures above the threshold")
        axes.axhline(FAILED, color="grey", lw=0.6, ls=":")
        axes.set_title(kind.replace("_", " "), fontsize=9)
    figure.supxlabel("severity (0 = clean)", fontsize=9)
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
