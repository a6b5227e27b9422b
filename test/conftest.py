"""Environment, markers and fixtures shared by the whole suite."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch and numpy are imported. Workers that compute side by side, one thread each, beat threads that wait for a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

if TYPE_CHECKING:
    from ls_ood_monitor.street.shots import RenderedShot

HERE = Path(__file__).parent
#: Marker -> folders, files and tests that have it.
MARKED = {
    "ros": (
        "benchmarks/test_end_to_end.py",
        "benchmarks/test_node_parts.py",
        "cli/test_top.py",
        "ros",
        "test_readme.py",
    ),
    "browser": ("evaluation/test_report_browser.py",),
    "slow": (
        "benchmarks",
        "cli/test_adopt.py::test_compare_takes_what_an_adopted_network_gives",
        "calibration/test_calibrate.py::test_default_detectors_calibrate",
        "calibration/test_hours.py",
        "cli/test_calibrate.py",
        "cli/test_evaluate.py",
        "cli/test_profile.py::test_engines_are_held_against_eager_torch",
        "cli/test_profile.py::test_growth_is_measured_along_each_axis",
        "cli/test_synth.py::test_a_data_set_of_drives",
        "cli/test_train.py",
        "core/detectors/test_density.py::test_reference_figures_of_the_sweep_over_components",
        "engines",
        "evaluation/test_cluster.py",
        "evaluation/test_evaluate.py",
        "evaluation/test_processes.py",
        "street/test_scenario.py",
        "test_bundle_upgrade.py::test_export_writes_a_bundle_of_format_1_anew",
        "test_evaluation_guide.py::test_the_commands_run_and_the_limits_are_kept",
        "test_features.py::test_every_detector_is_calibrated_stored_and_scores_again",
        "test_guide.py::test_the_guide_runs_from_top_to_bottom",
        "test_notebooks.py::test_a_notebook_runs",
        "test_packaging.py::test_colcon_build_installs_executables_launch_and_config",
        "test_readme.py",
        "training/test_fit.py",
        "training/test_sources.py",
        "vision/test_torchvision_compat.py",
    ),
}
MAX_WORKERS = 16  # beyond, the longest file decides how long a run takes


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test the markers of its folder and file, before any is deselected by them."""
    for marker, places in MARKED.items():
        for place in places:
            path, _, name = place.partition("::")
            if not (HERE / path).exists():
                raise pytest.UsageError(f"test/conftest.py marks {path} as {marker}, which is not there.")
            for item in items:
                if item.path.is_relative_to(HERE / path) and name in ("", item.originalname):
                    item.add_marker(marker)
    if "PYTEST_XDIST_WORKER" in os.environ:  # files with slow tests first: none is left for one worker at the end
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: one worker for each core that this process may use."""
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS)


def own_domain(which: int) -> int:
    """One of two ROS domains, of the 101 whose ports Linux keeps free, that no other worker of this run has."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    run = os.getppid() if worker else os.getpid()
    number = int(worker.removeprefix("gw")) if worker else 0
    return (run + 2 * number + which) % 101 + 1


os.environ["ROS_DOMAIN_ID"] = str(own_domain(0))  # of the nodes in this process, and of those that it starts


@pytest.fixture(scope="session")
def second_domain() -> int:
    """The id of another ROS domain that is this process's own."""
    return own_domain(1)


def random_pictures(count: int, height: int = 48, width: int = 64, seed: int = 0) -> list[np.ndarray]:
    """BGR uint8 pictures with smooth content, so that resizing means something."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return [np.kron(picture, np.ones((8, 8, 1), np.uint8)) for picture in coarse]


@pytest.fixture
def ls_ood(capfd: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in this process, without the seconds that a process of its own takes to import torch.

    Arguments -> exit code and what was printed.
    """
    from ls_ood_monitor.cli.main import main

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, int(end.value.code or 0), printed.out, printed.err)

    return run


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
    from ls_ood_monitor.frame_pass import LatentSettings
    from ls_ood_monitor.networks.deeplab_pass import DeepLabPass
    from ls_ood_monitor.vision.mc_dropout import draw_mask_bank
    from ls_ood_monitor.vision.preprocess import PreprocessSpec

    embedded = load_bundle(device="cpu")
    bank = draw_mask_bank(16, 6, 8, block_size=2, drop_prob=0.3, seed=0)
    frame_pass = DeepLabPass(embedded.frame_pass.network, PreprocessSpec(width=128, height=96), bank)
    frames = [Frame(image, 1 + index * 1_000_000_000, "front") for index, image in enumerate(random_pictures(40))]
    table = collect_features(frames, frame_pass)
    settings = CalibrationSettings(0.05, block_s=5.0)
    fitted = calibrate(table, settings, names=DEFAULT_DETECTORS, head=frame_pass.head)
    detectors = {name: result.detector for name, result in fitted.items()}
    thresholds = {name: result.threshold for name, result in fitted.items()}
    folder = tmp_path_factory.mktemp("bundle")
    provenance = {"domain": "random pictures"}
    latents = LatentSettings(mc_samples=16)
    save_bundle(folder, frame_pass, latents, detectors, thresholds, "multistage", embedded.class_names, provenance)
    return folder


@pytest.fixture(scope="session")
def street_pictures() -> list[RenderedShot]:
    """Eight pictures of the procedural street, 128x96: two drives, four cameras, one moment each."""
    from ls_ood_monitor.street import StreetDrive
    from ls_ood_monitor.street.shots import RenderedShot, Shot

    pictures = []
    for seed in (1, 2):
        drive = StreetDrive(seed)
        for camera in ("front", "rear", "left", "right"):
            pictures.append(RenderedShot(Shot(seed, camera, 1.0), *drive.render(camera, 1.0, 128, 96)))
    return pictures


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
