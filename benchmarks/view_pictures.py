"""Pictures of the demo and of its report for README and documentation; the report by a headless Chromium.

    ls-ood demo --out demo_out
    python benchmarks/view_pictures.py demo_out --out docs/img

Writes demo_timeline.png, demo_overlays.jpg (its overlays side by side), report_timeline.jpg (verdict and timeline) and
report_frames.jpg (strangest frames and figures).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from headless_browser import Page

_WIDTH, _SHOWN = 1280, 900
_QUALITY = 80


def main() -> None:
    """Copy, join, open the report and cut two stretches out of its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="what ls-ood demo wrote")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    shutil.copyfile(args.demo / "timeline.png", args.out / "demo_timeline.png")
    overlays = [cv2.imread(str(path)) for path in sorted(args.demo.glob("overlay_*.png"))]
    _write(args.out / "demo_overlays.jpg", _scaled(np.hstack(overlays)))
    whole, places = _report(args.demo / "evaluation" / "report.html")
    frames, figures = places["Strangest frames"], places["How well scores tell events from clean driving"]
    for name, begin, end in (("report_timeline", 0, frames - 20), ("report_frames", frames - 10, figures - 20)):
        _write(args.out / f"{name}.jpg", _scaled(whole[begin:end]))


def _report(path: Path) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Its picture, and where each of its headings is."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        Page(Path(profile)) as page,
    ):
        page.open(path, _WIDTH, 900)
        tops = page.evaluate("[...document.querySelectorAll('h2')].map(one => [one.innerText, one.offsetTop])")
        whole = cv2.imdecode(np.frombuffer(page.picture(whole=True), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(whole, np.uint8), {title: round(top) for title, top in tops}


def _scaled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = _SHOWN, round(picture.shape[0] * _SHOWN / picture.shape[1])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


if __name__ == "__main__":
    main()
