"""ls-ood bundle: shows what is in a bundle, verifies it, or exports its network."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .console import console, write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Shows or verifies a bundle: network, detectors, thresholds and their provenance (--json writes everything). Or "
        "exports the network as ONNX into the bundle. The engine onnx runs it two to three times as fast on a CPU. "
        "The exported graphs are compared with the network before they are stored. They change the bundle's identity."
    )
    parser.add_argument(
        "action",
        choices=("show", "verify", "export"),
        help="show the content; check the SHA-256 of every file and that this version can load them; or add the ONNX graphs",
    )
    parser.add_argument("bundle", nargs="?", type=Path, metavar="DIR", help="bundle folder (default: the embedded one)")


def run(args: argparse.Namespace) -> int:
    """Show, verify or export the bundle. A damaged bundle raises a ``MonitorError``."""
    from ..bundle import export_bundle, load_bundle, open_bundle, verify_bundle

    if args.action == "export":
        if args.bundle is None:
            raise ConfigError("export changes a bundle; name its folder.")
        with console.status("Exporting (10 s to a minute)"):
            export_bundle(args.bundle)
    manifest = verify_bundle(args.bundle)
    difference = None
    is_calibrated = bool(manifest.content["thresholds"])
    if args.action != "show":  # intact files may still not fit this version
        if is_calibrated:
            difference = load_bundle(args.bundle, device="cpu").difference
        else:
            open_bundle(args.bundle, device="cpu")
    content = {"sha256": manifest.bundle_id, **manifest.content}
    write_json(args.json, content)
    if args.action == "show":
        _show(content)
    else:
        console.print(
            f"OK: bundle {manifest.bundle_id}{'' if is_calibrated else ', not calibrated'}",
            highlight=False,
            soft_wrap=True,
        )
        if difference is not None:
            console.print(f"ONNX Runtime against torch: {difference}", highlight=False, soft_wrap=True)
    return 0


def _show(content: Mapping[str, Any]) -> None:
    from rich.table import Table

    from .bundle_report import calibration_report

    provenance = content["provenance"]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    network, size = content["network"], content["preprocess"]
    table.add_row("bundle", content["sha256"])
    table.add_row("made with", f"ls_ood_monitor {content['package_version']}, format {content['format_version']}")
    if network.get("kind") == "adopted":
        table.add_row("network", f"{network['file']}, adopted as it is")
        table.add_row("taps", "\n".join(_tap(tap) for tap in network["taps"]))
        table.add_row("latents", _tap(network["latents"]) if network["latents"] else "none")
    else:
        table.add_row("network", ", ".join(f"{key} {value}" for key, value in network.items()))
    table.add_row("input", f"{size['width']} x {size['height']}")
    table.add_row("classes", ", ".join(content["class_names"]))
    table.add_row("latents", ", ".join(f"{key} {value}" for key, value in content["latents"].items()))
    for name, facts in content["files"].items():
        table.add_row(name, f"{facts['bytes'] / 1e6:.2f} MB, sha256 {facts['sha256'][:12]}")
    for key, value in provenance.items():
        if key != "calibration" and not key.startswith("check_on_unseen_"):
            table.add_row(key, _plain(value))
    if origin := provenance.get("calibration", {}).get("from_bundle"):
        table.add_row("calibrated from", str(origin))
    console.print(table, highlight=False)
    if not content["thresholds"]:
        console.print("Not calibrated: it judges no frame. 'ls-ood calibrate CLEAN_DRIVES --bundle' sets thresholds.")
        return
    for item in calibration_report(content["detector"], content["thresholds"], provenance):
        console.print(item, highlight=False)


def _tap(tap: Mapping[str, Any]) -> str:
    return f"{tap['rows']} x {tap['columns']}, {tap['channels']} channels: {tap['tensor']}"


def _plain(value: Any) -> str:
    """Format a nested value on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " to ".join(map(str, value)) if len(value) == 2 else ", ".join(map(_plain, value))
    return str(value)
