"""ls-ood bundle: look into a bundle, or check it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = "Shows or verifies a bundle: network, detectors, thresholds and where they come from."
    parser.add_argument("action", choices=("show", "verify"), help="show the content, or check every file's SHA-256")
    parser.add_argument("bundle", nargs="?", type=Path, metavar="DIR", help="bundle folder (default: the embedded one)")


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; a damaged bundle is an error sentence and exit 2."""
    import json

    from ..bundle import verify_bundle
    from .console import console, write_json

    manifest = verify_bundle(args.bundle)
    content = {"sha256": manifest.bundle_id, **manifest.content}
    write_json(args.json, content)
    if args.action == "show":
        console.print_json(json.dumps(content))
    else:
        console.print(f"OK: bundle {manifest.bundle_id}")
    return 0
