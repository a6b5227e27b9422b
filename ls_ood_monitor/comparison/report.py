"""Writes the figures of a comparison as Markdown tables, plots and arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scoring import ComparisonScores

#: Colours of the detectors that a plot compares.
_COLOURS = ("#1565c0", "#c62828", "#2e7d32", "#ef6c00", "#6a1b9a", "#00838f", "#5d4037", "#ad1457")
_MARKERS = "osD^vPX*"


def write_scores(path: Path, scores: ComparisonScores) -> None:
    """Write every score as an array: ``<detector>/<condition>`` (N,), ``units/<pool>`` (N,), ``pool/<condition>``."""
    arrays: dict[str, Any] = {}
    for tested in scores.conditions:
        label = tested.condition.label
        arrays[f"units/{tested.pool}"] = np.asarray(tested.units)
        arrays[f"pool/{label}"] = np.asarray(tested.pool)
        for name, values in tested.scores.items():
            arrays[f"{name}/{label}"] = np.asarray(values)
    np.savez_compressed(path, **arrays)


#: Text of a cell of a table, from the name and the content of its row.
_Column = Callable[[str, Any], str]


def percent(entry: Mapping[str, float | None] | None, digits: int = 1) -> str:
    """Format a share with its interval in percent, such as ``97.3 (95.0 to 99.1)``; ``-`` where there is none."""
    return compact(entry, 100.0, digits, " to ")


def number(entry: Mapping[str, float | None] | None) -> str:
    """Format a value with its interval, such as ``0.973 (0.950 to 0.991)``; ``-`` where there is none."""
    return compact(entry, 1.0, 3, " to ")


def compact(entry: Mapping[str, float | None] | None, scale: float, digits: int, between: str = "-") -> str:
    """Format a value with its interval for a narrow table, such as ``97 (95-99)``; ``-`` where there is none."""
    if entry is None or entry["value"] is None:
        return "-"
    value, low, high = (f"{scale * float(entry[key] or 0.0):.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low}{between}{high})"


def markdown(results: Mapping[str, Any]) -> str:
    """Write the results as Markdown: tables, the data and command they come from, and what they do not show."""
    detectors: Mapping[str, Any] = results["detectors"]
    reference, cost = results["reference"], results["cost"]
    lines = [
        f"# Comparison: {results['protocol']}",
        "",
        f"`{results['command']}`",
        "",
        f"Domain: {results['domain']}. {results['frames']} clean test frames of {results['units']['control']} units "
        f"({results['unit']}), calibrated on {results['calibration']['frames']} frames of "
        f"{results['calibration']['units']}. Target: {100 * results['target_rate']:g} % false alarms a frame. OoD is "
        "the positive class. In brackets: 95 % intervals by whole units; of single shares by Korn and Graubard, of "
        f"means, differences, rankings and pixels by {results['bootstrap']['resamples']} resamples. "
        f"Bundle {results['bundle']['sha256'][:12]}.",
    ]
    columns: dict[str, _Column] = {
        "detector": _name,
        "detection 1-2, %": _mean("detection_rate", "severity_1_2"),
        "detection 3-5, %": _mean("detection_rate", "severity_3_5"),
        "recorded, %": _mean("detection_rate", "recorded"),
        "false alarms, %": _false_alarms,
        **_rankings("means"),
    }
    lines += _section("Detectors", "Means over shifts and severities.", columns, detectors.items())
    columns = {"detector": _name, "detection, points": _mean("detection_rate", part="differences")}
    others = [(name, entry) for name, entry in detectors.items() if name != reference]
    title = f"Difference to `{reference}`"
    lines += _section(title, "On the same resamples.", columns | _rankings("differences"), others)
    changes = dict.fromkeys(change for entry in detectors.values() for change in entry["harmless_alarm_rate"])
    columns = {"detector": _name, "clean": _false_alarms}
    columns |= {key: lambda _, entry, key=key: percent(entry["harmless_alarm_rate"][key]) for key in changes}
    lines += _section("Alarms on changes that must not alarm, %", "", columns, detectors.items())
    for group, severities in (("severity_1_2", "1-2"), ("severity_3_5", "3-5")):
        if shifts := _shifts(results, group):
            columns = {"shift": lambda shift, _: shift}
            columns |= {f"`{name}`": _detection(entry, group) for name, entry in detectors.items()}
            title = f"Detection at severity {severities}, %"
            lines += _section(title, "", columns, ((shift, None) for shift in shifts))
    if results["maps"]:
        columns = {
            "detector": _name,
            "shift": lambda _, entry: entry["shift"],
            "severity": lambda _, entry: str(entry["severity"] or "-"),
            "disturbed pixels, %": lambda _, entry: (
                f"{100 * entry['disturbed_share']:.1f}" if "disturbed_share" in entry else "-"
            ),
            "found, %": lambda _, entry: percent(entry.get("found_rate")),
            "largest cell alarms, %": lambda _, entry: percent(entry["alarm_rate"]),
            "pixel AUROC": lambda _, entry: number(entry.get("pixel_auroc")),
            "pixel AP": lambda _, entry: number(entry.get("pixel_ap")),
        }
        text = (
            "`found`: the largest cell exceeds the frame's threshold, as the overlay tints it, and lies on the anomaly."
        )
        lines += _section("Anomaly maps", text, columns, ((entry["detector"], entry) for entry in results["maps"]))
    text = (
        f"Medians over {cost['frames']} frames, one at a time, on {cost['device']} ({cost['threads']} threads); "
        f"the plain pass takes {cost['pass_ms']:.1f} ms."
    )
    columns = {
        "detector": _name,
        "feature": lambda name, _: detectors[name]["feature"],
        "feature, ms": lambda _, entry: f"{entry['feature_ms']:.3f}",
        "score, ms": lambda _, entry: f"{entry['score_ms']:.3f}",
        "together, % of the pass": lambda _, entry: f"{100 * entry['share_of_pass']:.2f}",
    }
    lines += _section("Cost a frame", text, columns, cost["detectors"].items())
    lines += ["", "## What this does not show", "", *(f"- {note}" for note in results["notes"])]
    return "\n".join(lines) + "\n"


def _section(title: str, text: str, columns: Mapping[str, _Column], rows: Iterable[tuple[str, Any]]) -> list[str]:
    """A heading, a paragraph unless ``text`` is empty, and a table: a line per name and entry, a cell per column."""
    cells = [columns, ["---"] * len(columns), *([cell(*row) for cell in columns.values()] for row in rows)]
    return ["", f"## {title}", "", *([text, ""] if text else []), *(f"| {' | '.join(line)} |" for line in cells)]


def _name(name: str, _: Any) -> str:
    return f"`{name}`"


def _false_alarms(_: str, entry: Any) -> str:
    return percent(entry["false_alarm_rate"])


def _mean(metric: str, group: str = "all", part: str = "means") -> _Column:
    form = percent if metric == "detection_rate" else number
    return lambda _, entry: form(entry[part].get(group, {}).get(metric))


def _rankings(part: str) -> dict[str, _Column]:
    metrics = {"AUROC": "auroc", "AUPR": "aupr", "FPR@95TPR": "fpr_at_95tpr"}
    return {head: _mean(metric, part=part) for head, metric in metrics.items()}


def _detection(entry: Any, group: str) -> _Column:
    """Share of detected frames of one detector, per cent, in the rows of shifts."""
    return lambda shift, _: f"{100 * float(entry['by_shift'][shift][group]['detection_rate']['value'] or 0.0):.0f}"


def _shifts(results: Mapping[str, Any], group: str) -> list[str]:
    """Shifts that were tested at this group of severities."""
    first = next(iter(results["detectors"].values()))
    return [shift for shift, groups in first["by_shift"].items() if group in groups]


def draw_plots(folder: Path, results: Mapping[str, Any], chosen: Sequence[str]) -> list[Path]:
    """Draw the heat map, the curves of the ``chosen`` detectors and the false alarms as PNG. Returns their paths."""
    paths = [folder / "detection_heatmap.png", folder / "detection_by_severity.png", folder / "false_alarms.png"]
    _draw_heatmap(paths[0], results)
    drawn = _draw_curves(paths[1], results, chosen)
    _draw_false_alarms(paths[2], results)
    return paths if drawn else [paths[0], paths[2]]


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _percentages(rates: Iterable[Mapping[str, float]]) -> NDArray[np.float64]:
    """Values and their intervals, (N, 3), per cent."""
    return np.array([[100 * rate[key] for key in ("value", "low", "high")] for rate in rates])


def _style(index: int) -> dict[str, str]:
    return {"color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}


def _draw_heatmap(path: Path, results: Mapping[str, Any]) -> None:
    """Draw the share of detected frames by detector and shift, at severity 3 to 5 (recorded sets unchanged)."""
    detectors = results["detectors"]
    columns: list[tuple[str, str]] = [(shift, "severity_3_5") for shift in _shifts(results, "severity_3_5")]
    title = "severity 3 to 5"
    if not columns:
        columns, title = [(shift, "severity_1_2") for shift in _shifts(results, "severity_1_2")], "severity 1 to 2"
    columns += [(shift, "recorded") for shift in _shifts(results, "recorded")]
    values = np.array(
        [
            [100 * entry["by_shift"][shift][group]["detection_rate"]["value"] for shift, group in columns]
            for entry in detectors.values()
        ]
    )
    figure = _figure(3.0 + 0.62 * max(6, len(columns)), 2.0 + 0.36 * len(detectors))
    axis = figure.subplots()
    image = axis.imshow(values, vmin=0.0, vmax=100.0, cmap="viridis", aspect="auto")
    for row, column in np.ndindex(*values.shape):
        shade = "white" if values[row, column] < 60.0 else "black"
        axis.text(column, row, f"{values[row, column]:.0f}", ha="center", va="center", color=shade, fontsize=9)
    axis.set_xticks(
        range(len(columns)), [shift for shift, _ in columns], rotation=40, ha="right", rotation_mode="anchor"
    )
    axis.set_yticks(range(len(detectors)), list(detectors))
    axis.tick_params(length=0)
    figure.colorbar(image, ax=axis, label="frames detected, %", pad=0.01)
    axis.set_title(f"Detection at the calibrated threshold, {title}\n{results['domain']}", fontsize=11)
    figure.savefig(path, dpi=110)


def _draw_curves(path: Path, results: Mapping[str, Any], chosen: Sequence[str]) -> bool:
    """Draw detection over severity, one small plot per shift. Returns False if there are fewer than two severities."""
    entries = [entry for entry in results["results"] if entry["role"] == "ood" and entry["severity"]]
    shifts = list(dict.fromkeys(entry["shift"] for entry in entries))
    severities = sorted({entry["severity"] for entry in entries})
    if len(severities) < 2:
        return False
    wide = min(6, len(shifts))
    high = -(-len(shifts) // wide)
    figure = _figure(max(6.5, 2.1 * wide), 1.6 + 1.9 * high)
    axes = figure.subplots(high, wide, sharey=True, squeeze=False)
    for axis in axes.flat[len(shifts) :]:
        axis.set_axis_off()
    for axis, shift in zip(axes.flat, shifts, strict=False):
        for index, name in enumerate(chosen):
            own = sorted(
                (entry for entry in entries if entry["detector"] == name and entry["shift"] == shift),
                key=lambda entry: int(entry["severity"]),
            )
            value, low, top = _percentages(entry["detection_rate"] for entry in own).T
            # Side by side, so that equal curves stay visible.
            at = np.array([entry["severity"] for entry in own]) + 0.09 * (index - (len(chosen) - 1) / 2)
            spread = (np.maximum(value - low, 0.0), np.maximum(top - value, 0.0))
            axis.errorbar(
                at,
                value,
                yerr=spread,
                **_style(index),
                markersize=4,
                linewidth=1.2,
                elinewidth=0.8,
                label=name if axis is axes.flat[0] else None,
            )
        axis.set_title(shift, fontsize=10)
        axis.set_ylim(-4, 104)
        axis.set_xticks(severities)
        axis.grid(alpha=0.25)
    for column in range(wide):
        axes[(len(shifts) - 1 - column) // wide, column].set_xlabel("severity")
    for row in axes[:, 0]:
        row.set_ylabel("detected, %")
    figure.suptitle(f"Detection at the calibrated threshold, 95 % intervals\n{results['domain']}", fontsize=11)
    figure.legend(loc="outside lower center", ncols=min(4, len(chosen)), fontsize=9, frameon=False)
    figure.savefig(path, dpi=110)
    return True


def _draw_false_alarms(path: Path, results: Mapping[str, Any]) -> None:
    """Draw false alarms on unseen clean frames with intervals, harmless changes as marks, and the target as a line."""
    detectors = results["detectors"]
    figure = _figure(9.0, 2.0 + 0.42 * len(detectors))
    axis = figure.subplots()
    places = np.arange(len(detectors))
    rates = _percentages(entry["false_alarm_rate"] for entry in detectors.values())
    spread = np.maximum([rates[:, 0] - rates[:, 1], rates[:, 2] - rates[:, 0]], 0.0)
    axis.barh(places, rates[:, 0], height=0.55, color="#90a4ae", xerr=spread, capsize=3, label="clean, 95 % interval")
    changes = [change for change in next(iter(detectors.values()))["harmless_alarm_rate"] if change != "identity"]
    for index, change in enumerate(changes):
        values = [100 * entry["harmless_alarm_rate"][change]["value"] for entry in detectors.values()]
        axis.scatter(
            values,
            places + 0.14 * (index - (len(changes) - 1) / 2),  # side by side, so that equal marks stay visible
            s=26,
            zorder=3,
            **_style(index),
            label=change,
        )
    target = 100 * results["target_rate"]
    axis.axvline(target, color="#c62828", linestyle="--", linewidth=1.2, label=f"target {target:g} %")
    axis.set_yticks(places, list(detectors))
    axis.invert_yaxis()
    axis.set_xlim(left=0.0)
    axis.set_xlabel("frames above the threshold, %")
    axis.grid(axis="x", alpha=0.25)
    axis.set_title(f"Alarms on unseen clean and harmlessly changed frames: {results['domain']}", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.savefig(path, dpi=110)
