"""Pictures of a report for the documentation, by a headless Chromium.

    ls-ood demo --out demo_out
    python benchmarks/view_pictures.py demo_out/evaluation/report.html --out docs/img

Writes report_timeline.jpg (verdict and timeline) and report_frames.jpg (strangest frames and figures).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from headless_browser import Page

_WIDTH, _SHOWN = 1280, 900
_QUALITY = 80


def main() -> None:
    """Open the report, cut two stretches out of its picture, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        Page(Path(profile)) as page,
    ):
        page.open(args.report, _WIDTH, 900)
        tops = page.evaluate("[...document.querySelectorAll('h2')].map(one => [one.innerText, one.offsetTop])")
        whole = cv2.imdecode(np.frombuffer(page.picture(whole=True), np.uint8), cv2.IMREAD_COLOR)
    places = {title: round(top) for title, top in tops}
    frames, figures = places["Strangest frames"], places["How well scores tell events from clean driving"]
    for name, begin, end in (("report_timeline", 0, frames - 20), ("report_frames", frames - 10, figures - 20)):
        part = whole[begin:end]
        small = cv2.resize(part, (_SHOWN, round(part.shape[0] * _SHOWN / part.shape[1])), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(args.out / f"{name}.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


if __name__ == "__main__":
    main()
