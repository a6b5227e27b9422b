"""Fixtures shared by the whole suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def random_pictures(count: int, height: int = 48, width: int = 64, seed: int = 0) -> list[np.ndarray]:
    """BGR uint8 pictures with smooth content, so that resizing means something."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return [np.kron(picture, np.ones((8, 8, 1), np.uint8)) for picture in coarse]


@pytest.fixture(scope="session")
def make_pictures() -> Callable[..., list[np.ndarray]]:
    """``random_pictures``, for tests that need some on disk."""
    return random_pictures


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded network at a small input size, calibrated on random pictures: fast, and right in form."""
    pytest.importorskip("torch")
    from ls_ood_monitor.bundle import load_bundle, save_bundle
    from ls_ood_monitor.calibration.calibrate import calibrate
    from ls_ood_monitor.calibration.collect import collect_features
    from ls_ood_monitor.calibration.settings import CalibrationSettings
    from ls_ood_monitor.core.detectors import DEFAULT_DETECTORS
    from ls_ood_monitor.core.types import Frame
    from ls_ood_monitor.monitor import FramePass, LatentSettings
    from ls_ood_monitor.vision.mc_dropout import draw_mask_bank
    from ls_ood_monitor.vision.preprocess import PreprocessSpec

    embedded = load_bundle(device="cpu")
    bank = draw_mask_bank(16, 6, 8, block_size=2, drop_prob=0.3, seed=0)
    frame_pass = FramePass(embedded.frame_pass.network, PreprocessSpec(width=128, height=96), bank)
    frames = [Frame(image, 1 + index * 1_000_000_000, "front") for index, image in enumerate(random_pictures(40))]
    table = collect_features(frames, frame_pass)
    settings = CalibrationSettings(0.05, block_s=5.0)
    fitted = calibrate(table, settings, names=DEFAULT_DETECTORS, head=frame_pass.head)
    detectors = {name: result.detector for name, result in fitted.items()}
    thresholds = {name: result.threshold for name, result in fitted.items()}
    folder = tmp_path_factory.mktemp("bundle")
    provenance = {"domain": "random pictures"}
    latents = LatentSettings(mc_samples=16)
    save_bundle(folder, frame_pass, latents, detectors, thresholds, "multitap", embedded.class_names, provenance)
    return folder


@pytest.fixture
def larex_trees(tmp_path: Path) -> tuple[Path, Path, Path]:
    """WoodScape with 10 sequences of one picture, Cityscapes with two cities, soiling with two parts, in their layouts."""
    import cv2

    def save(path: Path, value: int, labels: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if labels:
            picture = np.full((48, 64), value, np.uint8)
        else:
            picture = np.clip(random_pictures(1, seed=value)[0] // 2 + np.uint8(value), 0, 255)
        assert cv2.imwrite(str(path), picture)

    woodscape, cityscapes, soiling = (tmp_path / name for name in ("woodscape", "cityscapes", "soiling"))
    for number in range(10):
        name = f"{100 * number:05d}_FV.png"
        save(woodscape / "rgb_images" / name, 10 * number)
        save(woodscape / "semantic_annotations" / "gtLabels" / name, 1, labels=True)
    for part, city in (("train", "aachen"), ("val", "lindau")):
        scene = f"{city}_000000_000019"
        save(cityscapes / "leftImg8bit" / part / city / f"{scene}_leftImg8bit.png", 90)
        save(cityscapes / "gtFine" / part / city / f"{scene}_gtFine_labelIds.png", 7, labels=True)
    for part in ("train", "test"):
        save(soiling / part / "rgbImages" / "0000_FV.png", 50)
        save(soiling / part / "gtLabels" / "0000_FV.png", 1, labels=True)
    return woodscape, cityscapes, soiling
