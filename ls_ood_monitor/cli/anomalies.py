"""ls-ood anomalies: apply synthetic weather, light, dirt, defects and unknown objects to pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, DataError
from .console import console, progress_bar, write_json
from .option_values import make_folder, parse_list, parse_severities

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

DESCRIPTION = """\
Applies synthetic anomalies to a picture, or to each picture of a folder, and writes <stem>_<kind>_<severity>.png.
Without a picture it takes a frame of the procedural (synthetic) street.

  ls-ood anomalies --out look --sheet                                every kind on the street, and a contact sheet
  ls-ood anomalies photo.png --out look --kinds fog,rain --severities 1,5
  ls-ood anomalies photos/ --out look --kinds unknown_object         with <stem>_unknown_object_<severity>_mask.png

weather   fog, rain, snow
light     dark, night, sun_flare, overexposure, underexposure
lens      blur (defocus), motion_blur, mud, water_drops, occlusion
sensor    noise, dead_pixels, colour_channel, jpeg
objects   unknown_object (mask: 255 on the object)
control   identity
"""
_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_STREET_TIME_S = 3.0
_TILE_WIDTH, _LABEL_WIDTH, _LABEL_HEIGHT = 240, 150, 24  # contact sheet, pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("picture", type=Path, nargs="?", help="picture, or folder of pictures (default: the street)")
    add("--out", type=Path, required=True, metavar="DIR", help="output folder")
    add("--kinds", metavar="KIND,...", help="kinds, separated by commas (default: all but identity)")
    add("--severities", default="1,3,5", metavar="N,...", help="1 (slight) to 5 (heavy) (default %(default)s)")
    add("--seed", type=int, default=0, help="seed of the random parts (default %(default)s)")
    add("--sheet", action="store_true", help="also write contact_sheet.png: all kinds on the first picture")


def run(args: argparse.Namespace) -> int:
    """Write the disturbed pictures."""
    from ..anomalies import ANOMALIES, anomaly_mask, apply_anomaly
    from ..datasets.files import read_picture, write_png

    kinds = _kinds(args.kinds, ANOMALIES)
    severities = parse_severities(args.severities)
    if args.seed < 0:
        raise ConfigError(f"--seed is {args.seed}; it must be 0 or larger.")
    sources = _sources(args.picture)
    for source in filter(None, sources.values()):
        read_picture(source)  # all are checked before the first result is written
    if args.picture is not None and args.out.resolve() in {path.resolve().parent for path in sources.values() if path}:
        raise ConfigError(f"--out is {args.out}, where the pictures are; choose another folder.")
    make_folder(args.out)
    written: list[str] = []

    def write(name: str, image: NDArray[np.uint8]) -> None:
        write_png(args.out / name, image)
        written.append(str(args.out / name))

    rows: list[list[NDArray[np.uint8]]] = []
    with progress_bar("Disturbing", len(sources) * len(kinds) * len(severities)) as update:
        done = 0
        for number, (stem, path) in enumerate(sources.items()):
            picture = read_picture(path) if path else _street()
            for kind in kinds:
                row = [picture]
                for severity in severities:
                    row.append(apply_anomaly(kind, picture, severity, args.seed))
                    write(f"{stem}_{kind}_{severity}.png", row[-1])
                    if kind == "unknown_object":
                        mask = 255 * anomaly_mask(kind, picture, severity, args.seed)
                        write(f"{stem}_{kind}_{severity}_mask.png", mask)
                    done += 1
                    update(done, stem)
                if args.sheet and number == 0:
                    rows.append([_tile(image) for image in row])
    if args.sheet:
        write("contact_sheet.png", _sheet(kinds, severities, rows))
    facts = {"pictures": len(sources), "kinds": kinds, "severities": severities, "seed": args.seed}
    write_json(args.json, {**facts, "files": written})
    levels = ", ".join(map(str, severities))
    console.print(f"{args.out}: {len(written)} files, {len(kinds)} kinds at severity {levels}", soft_wrap=True)
    return 0


def _kinds(option: str | None, known: Sequence[str]) -> list[str]:
    if option is None:
        return [name for name in known if name != "identity"]
    names = parse_list(option)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(f"--kinds has {', '.join(unknown) or 'no kind'}; known: {', '.join(known)}.")
    return names


def _sources(picture: Path | None) -> dict[str, Path | None]:
    """Stem of the results -> picture, or None for the street."""
    if picture is None:
        return {"street": None}
    if not picture.exists():
        raise DataError(f"There is no picture or folder {picture}.")
    if not picture.is_dir():
        return {picture.stem: picture}
    paths = sorted(path for path in picture.iterdir() if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise DataError(f"Folder {picture} has no picture; known endings: {', '.join(_SUFFIXES)}.")
    sources: dict[str, Path | None] = {}
    for path in paths:
        if path.stem in sources:
            raise DataError(f"Pictures {sources[path.stem]} and {path} would get the same results; rename one.")
        sources[path.stem] = path
    return sources


def _street() -> NDArray[np.uint8]:
    from ..street import StreetDrive
    from ..street.shots import CAMERA_SIZE, DEMO_DRIVE

    return StreetDrive(DEMO_DRIVE).render("front", _STREET_TIME_S, *CAMERA_SIZE)[0]


def _tile(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2
    import numpy as np

    height = max(1, round(_TILE_WIDTH * image.shape[0] / image.shape[1]))
    return np.asarray(cv2.resize(image, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)


def _sheet(
    kinds: Sequence[str], severities: Sequence[int], rows: Sequence[Sequence[NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    """Contact sheet: a row for each kind, a column for the original and for each severity."""
    import cv2
    import numpy as np

    height = rows[0][0].shape[0]
    size = (_LABEL_HEIGHT + len(rows) * height, _LABEL_WIDTH + (1 + len(severities)) * _TILE_WIDTH, 3)
    sheet = np.full(size, 255, np.uint8)

    def label(text: str, x: int, y: int) -> None:
        cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)

    for column, title in enumerate(["original", *(f"severity {severity}" for severity in severities)]):
        label(title, _LABEL_WIDTH + column * _TILE_WIDTH + 6, 17)
    for number, (kind, tiles) in enumerate(zip(kinds, rows, strict=True)):
        top = _LABEL_HEIGHT + number * height
        label(kind, 6, top + height // 2)
        sheet[top : top + height, _LABEL_WIDTH:] = np.hstack(tiles)
    return sheet
