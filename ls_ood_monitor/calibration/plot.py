"""Draws a calibration: held-out scores of each drive against the threshold, and the false alarms to expect."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibrate import DetectorCalibration
from .feature_table import FeatureTable
from .summary_text import threshold_text, two_digits

_MANY_DRIVES = 8
_UNITS = {"block": ("blocks left out", "#37474f"), "drive": ("drives left out", "#1565c0")}
_LIMIT, _LASTING = "#c62828", "#1565c0"
_SEEING, _ALARMING = "Greens", "Reds"
_SENSITIVITY_IN = 3.2  # height, inches
_DARK = 0.6  # share from which black text cannot be read


def draw_calibration(
    fitted: Mapping[str, DetectorCalibration],
    table: FeatureTable,
    path: Path,
    *,
    check: Mapping[str, Mapping[str, Any]] | None = None,
    sensitivity: Mapping[str, Any] | None = None,
    title: str = "",
) -> None:
    """Draw a PNG with one row per detector, and below what was detected of disturbed clips.

    Args:
        fitted: calibrations by the name of the detector.
        table: the clean frames.
        path: file to write.
        check: share of further drives' frames above each threshold (``false_alarms``).
        sensitivity: what the monitor saw (``Sensitivity.facts``).
        title: title of the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    height = 1.0 + 2.5 * len(fitted)
    figure = Figure(figsize=(12, height + (_SENSITIVITY_IN if sensitivity else 0.0)), layout="constrained")
    FigureCanvasAgg(figure)
    upper: Any = figure
    if sensitivity:
        parts: Any = figure.subfigures(2, 1, height_ratios=[height, _SENSITIVITY_IN])
        upper, lower = parts
        _sensitivity(lower.subplots(1, 2, gridspec_kw={"width_ratios": [3.2, 1.0]}), sensitivity)
    axes = upper.subplots(len(fitted), 2, squeeze=False, gridspec_kw={"width_ratios": [2.2, 1.0]})
    drives = np.asarray(table.drives)
    for (name, result), (left, right) in zip(fitted.items(), axes, strict=True):
        unit = "drive" if "drive" in result.scores else "block"
        scores, limit = result.scores[unit], result.threshold.value
        ratio = limit > 0.0 and bool((scores > 0.0).all())
        values = scores / limit if ratio else scores
        _histograms(left, values, drives, table.drive_names, log=ratio)
        left.axvline(
            1.0 if ratio else limit,
            color=_LIMIT,
            linestyle="--",
            linewidth=1.2,
            label=f"threshold {threshold_text(limit)}",
        )
        lasting = result.threshold.lasting_value
        if np.isfinite(lasting):
            at = lasting / limit if ratio else lasting
            left.axvline(
                at, color=_LASTING, linestyle=":", linewidth=1.4, label=f"of the median {threshold_text(lasting)}"
            )
        if ratio:
            left.set_xscale("log")
            left.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            left.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
            left.xaxis.set_minor_formatter(NullFormatter())
        left.set_xlabel(f"score / threshold, {_UNITS[unit][0]}" if ratio else f"score, {_UNITS[unit][0]}")
        left.set_ylabel(f"{name}\nframes")
        left.margins(y=0.12)
        left.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=5, borderaxespad=0.1)
        _rates(right, result, (check or {}).get(name))
    if title:
        figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=100)


def _sensitivity(axes: Any, facts: Mapping[str, Any]) -> None:
    """Share of clips that alarm, by change and level, as colour; the median delay in seconds as text."""
    for axis, is_harmless in zip(axes, (False, True), strict=True):
        own = [condition for condition in facts["conditions"] if condition["is_harmless"] is is_harmless]
        if not own:
            axis.set_axis_off()
            axis.set_title("Harmless changes: not measured, the time was over", fontsize=10)
            continue
        names = list(dict.fromkeys(condition["name"] for condition in own))
        levels = sorted({condition["level"] for condition in own})
        shares = np.full((len(levels), len(names)), np.nan)
        for condition in own:
            row, column = levels.index(condition["level"]), names.index(condition["name"])
            found = sorted(delay for delay in condition["delays_s"] if delay is not None)
            shares[row, column] = len(found) / len(condition["delays_s"])
            if found:
                colour = "white" if shares[row, column] > _DARK else "black"
                median_s = found[len(found) // 2]
                axis.text(column, row, f"{median_s:.1f}", ha="center", va="center", fontsize=8, color=colour)
        axis.imshow(shares, cmap=_ALARMING if is_harmless else _SEEING, vmin=0.0, vmax=1.0, aspect="auto")
        axis.set_xticks(
            range(len(names)), [name.replace("_", " ") for name in names], rotation=50, ha="right", fontsize=8
        )
        axis.set_yticks(range(len(levels)), [str(level) for level in levels])
        axis.set_ylabel("level" if is_harmless else "severity")
        what = "Harmless changes: should not alarm" if is_harmless else f"What {facts['detector']} sees within "
        axis.set_title(
            what if is_harmless else f"{what}{facts['length_s']:g} s, and the median delay in s", fontsize=10
        )


def _histograms(
    axis: Any, values: NDArray[np.float64], drives: NDArray[np.str_], names: tuple[str, ...], *, log: bool
) -> None:
    """Draw one line per drive; with many drives, one area for all and a tick at each drive's largest score."""
    low, high = float(values.min()), float(values.max())
    if log:
        edges = np.geomspace(low / 1.02, max(high, 1.0) * 1.02, 37)
    else:
        margin = 0.02 * (high - low) or 1.0
        edges = np.linspace(low - margin, high + margin, 37)
    if len(names) > _MANY_DRIVES:
        axis.hist(values, edges, color="#90a4ae", alpha=0.7, label=f"all {len(names)} drives")
        worst = [values[drives == name].max() for name in names]
        axis.plot(worst, np.zeros(len(worst)), "|", color="#37474f", markersize=12, label="largest score of each drive")
        return
    for index, name in enumerate(names):
        own = values[drives == name]
        axis.hist(own, edges, histtype="step", linewidth=1.5, color=f"C{index}", label=f"{name} ({len(own)})")


def _rates(axis: Any, result: DetectorCalibration, check: Mapping[str, Any] | None) -> None:
    """Draw the rates of frames above the threshold with their intervals, one row each, and the target as a line."""
    rows = [(*_UNITS[unit], share.rate, share.low, share.high) for unit, share in result.rates.items()]
    if check is not None:
        rows.append(("further drives", "#2e7d32", check["rate"], check["low"], check["high"]))
    for index, (label, colour, rate, low, high) in enumerate(rows):
        axis.plot(
            [100.0 * low, 100.0 * high], [index, index], color=colour, linewidth=5.0, alpha=0.35, solid_capstyle="butt"
        )
        axis.plot([100.0 * rate], [index], "o", color=colour)
        axis.annotate(
            f"{label}: {two_digits(100 * rate)} %  ({two_digits(100 * low)} to {two_digits(100 * high)})",
            (0.02, index + 0.22),
            xycoords=axis.get_yaxis_transform(),
            fontsize=8,
            color=colour,
        )
    target = result.threshold.target_rate
    axis.axvline(
        100.0 * target,
        color=_LIMIT,
        linestyle="--",
        linewidth=1.0,
        label=f"{'target' if result.threshold.target_per_hour is None else 'result'} {two_digits(100 * target)} %",
    )
    axis.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1)
    axis.set_ylim(-0.5, len(rows) - 0.2)
    axis.set_xlim(0.0, 100.0 * max(2.5 * target, *(1.15 * row[4] for row in rows)))
    axis.set_yticks([])
    alarms = result.alarms.get("drive", result.alarms.get("block"))
    text = "clean frames above, % (95 % interval)"
    if alarms is not None:
        text += f"\n{alarms.events} alarms in {two_digits(alarms.hours)} h, claim < {two_digits(alarms.upper)} an hour"
    axis.set_xlabel(text, fontsize=9)
