"""The report's last parts, as HTML: recording, bundle, parameters and machine that the figures come from."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timezone
from math import isfinite
from typing import Any

from ..calibration.summary_text import calibrated_on, calibration_target, sensitivity_sentences
from ..config import AlarmSettings
from ..monitor import OodMonitor
from .report_tables import facts_table
from .results import BundleFacts, Provenance, Summary
from .summary_text import again_in_clip


def recording_part(summary: Summary) -> str:
    """The recording's files and truth, and of a clip whether its alarm came again."""
    recording, events = summary.provenance.recording, summary.provenance.events_file
    rows = [
        ("path", f"<code>{html.escape(recording.path)}</code>"),
        ("format", f"{html.escape(recording.format)}, {recording.size_bytes:,} bytes"),
        ("start", html.escape(recording.start or "not known: it has no clock of its own")),
        *([("frame rate", f"{recording.rate_hz:g}\u00a0Hz")] if recording.rate_hz else []),
        ("events from", f"<code>{html.escape(events)}</code>" if events else "no file"),
    ]
    if summary.clip:
        rows.append(("clip of an alarm", "<br>".join(map(html.escape, again_in_clip(summary.clip)))))
    return facts_table(rows)


def bundle_part(summary: Summary, monitor: OodMonitor | None) -> str:
    """Identity, threshold and calibration, and the rule of the alarm that was in force."""
    rows = bundle_rows(summary.bundle, summary.detector, summary.threshold)
    if monitor is not None:
        calibration = monitor.provenance.get("calibration", {})
        threshold = monitor.thresholds[monitor.detector]
        rows += [
            ("threshold", html.escape(f"{threshold.method}, rank {threshold.rank} of {threshold.n} scores")),
            ("calibration", html.escape(f"{calibrated_on(calibration)} {calibration_target(calibration)}")),
        ]
        if isfinite(threshold.lasting_value):
            rows.append(("lasting threshold", f"{threshold.lasting_value:.4g}, of the median over seconds"))
        if sensitivity := calibration.get("sensitivity"):
            lines = map(html.escape, sensitivity_sentences(sensitivity))
            rows.append(("seen at calibration", "synthetic disturbances of clean clips:<br>" + "<br>".join(lines)))
        if threshold.warning:
            rows.append(("warning", f"<span class=bad>{html.escape(threshold.warning)}</span>"))
        data = monitor.provenance.get("dataset", {})
        if isinstance(data, Mapping) and data.get("data"):
            rows.append(("network trained on", html.escape(str(data["data"]))))
    parameters = summary.provenance.parameters["perception_node"]
    rule = [f"{spec.name} {parameters[spec.name]}" for spec in fields(AlarmSettings) if spec.name in parameters]
    rows.append(("alarm settings", html.escape(", ".join(rule))))
    return facts_table(rows)


def bundle_rows(bundle: BundleFacts, detector: str, threshold: float) -> list[tuple[str, str]]:
    """Its identity, and what raised the alarm."""
    return [
        ("identity", f"<code>sha256 {bundle.sha256}</code>"),
        ("detector", f"{html.escape(detector)}, threshold {threshold:.4g}"),
    ]


def parameters_part(parameters: Mapping[str, Mapping[str, Any]]) -> str:
    """All parameters in force, folded."""
    parts = []
    for node, values in parameters.items():
        rows = [(name, html.escape(_as_written(value))) for name, value in values.items()]
        parts.append(f"<details><summary>{html.escape(node)}</summary>{facts_table(rows)}</details>")
    return "".join(parts)


def _as_written(value: Any) -> str:
    """A parameter as a parameter file has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_as_written, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else '""'


def environment_part(facts: Provenance) -> str:
    """When, by what software and on what machine it was judged."""
    network, environment = facts.network, facts.environment
    device = network.device + (f", {environment.gpu}" if environment.gpu else "")
    versions = {"ls_ood_monitor": facts.version, **environment.versions}
    rows = [
        ("judged on", f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"),
        ("network on", html.escape(f"{device}, engine {network.engine} {network.precision}")),
        ("versions", html.escape(", ".join(f"{name} {version}" for name, version in versions.items()))),
        ("machine", html.escape(environment.machine)),
    ]
    return facts_table(rows)
