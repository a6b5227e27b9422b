"""Calibration: from frames to thresholds, held out by block."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.core.detectors import DEFAULT_DETECTORS, DETECTORS, MahalanobisDetector
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import CalibrationError
from ls_ood_monitor.offline.calibration import (
    blocks_of_time,
    collect_features,
    concatenate_tables,
    fit_detectors,
    summarise,
)


@pytest.fixture(scope="module")
def monitor(tiny_bundle):
    """The network's side."""
    return load_bundle(tiny_bundle, device="cpu")


def frames(count: int, camera: str = "front", seed: int = 0) -> list[Frame]:
    """Random pictures, one a second."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (count, 48, 64, 3), dtype=np.uint8)
    return [Frame(picture, index * 1_000_000_000, camera) for index, picture in enumerate(pictures)]


def fit(monitor, table, blocks, **options):
    """The default detectors, fitted."""
    return fit_detectors(table, blocks, names=DEFAULT_DETECTORS, head=monitor.frame_pass.head, **options)


def test_features_are_those_of_the_vehicle(monitor):
    """The rows collected in batches score as the monitor scores the frames one by one."""
    some = frames(5)
    told = []
    table = collect_features(some, monitor.frame_pass, batch=3, progress=told.append)
    assert told == [3, 5]
    for index, frame in enumerate(some):
        result = monitor.process([frame])[0]
        for name, detector in monitor.detectors.items():
            row = table.features.of(DETECTORS[name].feature)[index : index + 1]
            assert detector.score(row)[0] == pytest.approx(result.scores[name], rel=1e-3)


def test_thresholds_are_quantiles_of_held_out_scores(monitor):
    """Value, count, blocks and rank are those of leave-one-block-out by hand."""
    table = collect_features(frames(40), monitor.frame_pass)
    blocks = blocks_of_time(table, 10.0)
    assert np.bincount(blocks).tolist() == [10, 10, 10, 10]
    detectors, thresholds = fit(monitor, table, blocks, target_rate=0.1)
    rows = table.features.of("taps")
    scores = np.concatenate(
        [MahalanobisDetector().fit(rows[blocks != block]).score(rows[blocks == block]) for block in range(4)]
    )
    assert thresholds["multitap"].value == pytest.approx(np.sort(scores)[36], rel=1e-9)
    assert (thresholds["multitap"].n, thresholds["multitap"].blocks, thresholds["multitap"].rank) == (40, 4, 37)
    assert set(detectors) == set(DEFAULT_DETECTORS)


def test_cameras_of_one_moment_share_a_block(monitor):
    """What two cameras see in the same seconds is held out together."""
    table = collect_features([*frames(20), *frames(20, "left", 1)], monitor.frame_pass)
    blocks = blocks_of_time(table, 5.0)
    np.testing.assert_array_equal(blocks[:20], blocks[20:])


def test_too_little_data_is_refused(monitor):
    """No frame, one block, and too few frames for the target each have their sentence."""
    with pytest.raises(CalibrationError, match="no frames"):
        collect_features([], monitor.frame_pass)
    table = collect_features(frames(10), monitor.frame_pass)
    with pytest.raises(CalibrationError, match="at least 2"):
        fit(monitor, table, np.zeros(10, np.int64), target_rate=0.2)
    with pytest.raises(CalibrationError, match="10 clean frames cannot support"):
        fit(monitor, table, blocks_of_time(table, 5.0), target_rate=0.01)
    _, thresholds = fit(monitor, table, blocks_of_time(table, 5.0), target_rate=0.01, allow_small=True)
    assert thresholds["larem"].warning


def test_tables_join_in_order(monitor):
    """Two recordings become one table; the summary counts per camera."""
    one, two = (collect_features(frames(4, camera), monitor.frame_pass) for camera in ("front", "left"))
    both = concatenate_tables([one, two])
    np.testing.assert_array_equal(both.features.of("taps")[4:], two.features.of("taps"))
    assert summarise(both) == {"frames": 8, "cameras": {"front": 4, "left": 4}}
