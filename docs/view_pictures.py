"""Pictures of the demo and its report for README and documentation.

    ls-ood demo --out demo_out
    python docs/view_pictures.py demo_out

Writes into docs/img: demo_timeline.png, demo_overlays.jpg (overlays side by side), report_timeline.jpg (verdict and
timeline) and report_frames.jpg (strangest frames and figures), the last two as the system's Chromium shows the report.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).with_name("img")
WINDOW, PICTURE_WIDTH, QUALITY = {"width": 1280, "height": 900}, 900, 80


def main() -> None:
    """Copy, join, open the report and cut two pieces out of its picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="what ls-ood demo wrote")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures (default: docs/img)")
    args = parser.parse_args()
    shutil.copyfile(args.demo / "timeline.png", args.out / "demo_timeline.png")
    overlays = [cv2.imread(str(path)) for path in sorted(args.demo.glob("overlay_*.png"))]
    write_small(args.out / "demo_overlays.jpg", np.hstack(overlays))
    report, tops = photograph(args.demo / "evaluation" / "report.html")
    frames, figures = tops["Strangest frames"], tops["How well scores tell events from clean driving"]
    write_small(args.out / "report_timeline.jpg", report[: frames - 20])
    write_small(args.out / "report_frames.jpg", report[frames - 10 : figures - 20])


def photograph(path: Path) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """The whole page, and the row in which each of its headings begins."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport=WINDOW)
        page.goto(path.resolve().as_uri())
        page.wait_for_timeout(500)  # plots are drawn
        tops = page.evaluate("[...document.querySelectorAll('h2')].map(title => [title.innerText, title.offsetTop])")
        picture = cv2.imdecode(np.frombuffer(page.screenshot(full_page=True), np.uint8), cv2.IMREAD_COLOR)
        browser.close()
    return np.asarray(picture, np.uint8), {title: round(top) for title, top in tops}


def write_small(path: Path, picture: NDArray[np.uint8]) -> None:
    """A JPEG of the documentation's width."""
    size = PICTURE_WIDTH, round(picture.shape[0] * PICTURE_WIDTH / picture.shape[1])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    main()
