"""Small data sets on disk with pictures of the procedural street."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

SIZE = (128, 96)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write a picture (BGR) or ids, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def woodscape(tmp_path, street_pictures) -> Path:
    """Eight pictures with indices over three blocks of a hundred."""
    root = tmp_path / "woodscape"
    codes = ("FV", "RV", "MVL", "MVR")
    for number, picture in enumerate(street_pictures):
        name = f"{number * 40:05d}_{codes[number % 4]}.png"
        save(root / "rgb_images" / name, picture.image)
        save(root / "semantic_annotations" / "gtLabels" / name, picture.labels)
    return root


@pytest.fixture
def soiling(tmp_path, street_pictures) -> Path:
    """Four pictures for training, two for test, with the four classes."""
    root = tmp_path / "soiling"
    for part, pictures in (("train", street_pictures[:4]), ("test", street_pictures[4:6])):
        for number, picture in enumerate(pictures):
            name = f"{number:04d}_FV.png"
            save(root / part / "rgbImages" / name, picture.image)
            save(root / part / "gtLabels" / name, picture.labels % 4)
    return root


@pytest.fixture
def cityscapes(tmp_path, street_pictures) -> Path:
    """Two cities for training and one for validation; the label files hold every id there is."""
    root = tmp_path / "cityscapes"
    scenes = (("train", "aachen"), ("train", "aachen"), ("train", "bochum"), ("val", "lindau"))
    for number, (part, city) in enumerate(scenes):
        scene = f"{city}_{number:06d}_000019"
        save(root / "leftImg8bit" / part / city / f"{scene}_leftImg8bit.png", street_pictures[number].image)
        save(root / "gtFine" / part / city / f"{scene}_gtFine_labelIds.png", every_id())
    return root


def every_id() -> np.ndarray:
    """Ids 0 to 33 one column after the other, over a picture of ``SIZE``."""
    return np.tile(np.arange(SIZE[0], dtype=np.uint8) % 34, (SIZE[1], 1))
