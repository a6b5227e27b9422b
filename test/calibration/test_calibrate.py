"""Calibration: from drives to thresholds, held out by block and by drive."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.calibration.calibrate import calibrate, false_alarms
from ls_ood_monitor.calibration.collect import collect_drives, collect_features
from ls_ood_monitor.calibration.feature_table import (
    FeatureTable,
    blocks_of_time,
    clean_video,
    concatenate_tables,
    summarise,
)
from ls_ood_monitor.calibration.plot import draw_calibration
from ls_ood_monitor.calibration.provenance import provenance_of
from ls_ood_monitor.calibration.settings import CalibrationSettings
from ls_ood_monitor.calibration.table_file import pack_table, unpack_table
from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.detectors import DEFAULT_DETECTORS, DETECTORS, MahalanobisDetector
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import BundleError, CalibrationError, ConfigError
from ls_ood_monitor.features import FrameFeatures
from ls_ood_monitor.recordings.drive_source import DriveSource


@pytest.fixture(scope="module")
def monitor(tiny_bundle):
    """The tiny bundle's monitor."""
    return load_bundle(tiny_bundle, device="cpu")


def frames(count: int, camera: str = "front", seed: int = 0) -> list[Frame]:
    """Random pictures, one a second."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (count, 48, 64, 3), dtype=np.uint8)
    return [Frame(picture, index * 1_000_000_000, camera) for index, picture in enumerate(pictures)]


def table_of(shifts: dict[str, float], count: int = 300, rate_hz: float = 10.0, seed: int = 0) -> FeatureTable:
    """Taps of drives whose means differ by the given shifts; one camera."""
    random = np.random.default_rng(seed)
    stamps = np.round(np.arange(count) * 1e9 / rate_hz).astype(np.int64)
    return concatenate_tables(
        [
            FeatureTable(
                FrameFeatures({"stage_means": (random.normal(size=(count, 4)) + shift).astype(np.float32)}),
                stamps,
                ("front",) * count,
                (name,) * count,
            )
            for name, shift in shifts.items()
        ]
    )


def fit(table: FeatureTable, **options):
    """The multistage detector on a table of taps."""
    return calibrate(table, CalibrationSettings(**options), names=["multistage"], head=None)["multistage"]


def by_hand(rows: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Held-out scores, computed one unit after the other."""
    scores = np.empty(len(rows))
    for unit in np.unique(units):
        scores[units == unit] = MahalanobisDetector().fit(rows[units != unit]).score(rows[units == unit])
    return scores


def test_features_are_those_of_the_vehicle(monitor):
    """The rows collected in batches score as the monitor scores the frames one by one."""
    five = frames(5)
    done = []
    table = collect_features(five, monitor.frame_pass, batch=3, progress=done.append)
    assert done == [3, 5]
    for index, frame in enumerate(five):
        result = monitor.process([frame])[0]
        for name, detector in monitor.detectors.items():
            row = table.features.of(DETECTORS[name].feature)[index : index + 1]
            assert detector.score(row)[0] == pytest.approx(result.scores[name], rel=1e-3)


def test_thresholds_are_quantiles_of_held_out_scores():
    """Value, count, blocks and rank equal those of a leave-one-block-out loop in the test."""
    table = table_of({"monday": 0.0}, count=400)
    result = fit(table, target_rate=0.1)
    blocks = blocks_of_time(table, 10.0)
    assert np.bincount(blocks).tolist() == [100, 100, 100, 100]
    scores = by_hand(table.features.of("stage_means"), blocks)
    np.testing.assert_allclose(result.scores["block"], scores, rtol=1e-9)
    assert result.threshold.value == pytest.approx(np.sort(scores)[360], rel=1e-9)
    assert (result.threshold.n, result.threshold.blocks, result.threshold.rank) == (400, 4, 361)
    assert (result.rates["block"].above, result.rates["block"].units) == (39, 4)
    assert set(result.scores) == {"block"}


@pytest.mark.parametrize("hold_out", ["block", "drive", "worst"])
def test_what_is_held_out_decides_the_threshold(hold_out):
    """The threshold is that of held-out blocks, of held-out drives, or the larger one; both rates are given at it."""
    table = table_of({"monday": 0.0, "tuesday": 1.5, "friday": -1.0})
    result = fit(table, target_rate=0.02, hold_out=hold_out)
    rows, drives = table.features.of("stage_means"), np.asarray(table.drives)
    expected = {
        "block": np.sort(by_hand(rows, blocks_of_time(table, 10.0)))[883 - 1],
        "drive": np.sort(by_hand(rows, drives))[883 - 1],
    }
    assert {name: item.value for name, item in result.candidates.items()} == pytest.approx(expected)
    assert expected["drive"] > expected["block"]
    assert result.threshold.value == pytest.approx(expected["block" if hold_out == "block" else "drive"])
    assert f"leave-one-{'block' if hold_out == 'block' else 'drive'}-out" in result.threshold.method
    for unit in ("block", "drive"):
        assert result.rates[unit].rate == pytest.approx((result.scores[unit] > result.threshold.value).mean())
    assert result.rates["drive"].units == 3


def test_a_promise_an_hour_holds_out_drives():
    """By default whole drives are held out for a target an hour, and blocks for a share of frames or a single drive."""
    both, one = table_of({"monday": 0.0, "tuesday": 0.5}, count=1200), table_of({"monday": 0.0}, count=2400)
    assert fit(both, target_per_hour=60.0).held_out == "drive"
    assert fit(both, per_hour_if_supported=60.0).held_out == "drive"
    assert fit(both, target_per_hour=60.0, hold_out="block").held_out == "block"
    assert fit(both, target_rate=0.02).held_out == "block"
    assert fit(one, target_per_hour=60.0).held_out == "block"


def test_a_detector_that_does_not_transfer_is_named():
    """A drive unlike the others gives a note with its name; equal drives do not."""
    settings = {"target_rate": 0.02, "block_s": 2.0}
    few, rate = fit(table_of({"monday": 0.0, "tuesday": 0.0, "friday": 0.0}), **settings).notes
    assert "45 blocks cannot prove" in few
    assert "false alarms an hour on these drives" in rate
    result = fit(table_of({"monday": 0.0, "tuesday": 0.0, "friday": 4.0}), **settings)
    assert any("does not transfer between your drives" in note and "friday 100%" in note for note in result.notes)
    assert result.worst_drive[0] == "friday"


def test_alarms_an_hour():
    """Streams and hours follow from the stamps; the target holds under the alarm filter, and too little video is refused."""
    table = table_of({"monday": 0.0, "tuesday": 0.2}, count=1200)
    video = clean_video(table)
    assert [len(stream) for stream in video.streams] == [1200, 1200]
    assert video.hours == pytest.approx(2 * 120.0 / 3600.0)
    # 4 minutes without an alarm allow to claim 3 / (1 / 15) = 45 an hour.
    result = fit(table, target_per_hour=60.0, alarm=AlarmSettings(trigger_consecutive_frames=2), hold_out="worst")
    assert result.threshold.target_per_hour == 60.0
    assert max(rate.upper for rate in result.alarms.values()) <= 60.0
    assert result.threshold.value < fit(table, target_rate=0.001, hold_out="worst").threshold.value
    with pytest.raises(CalibrationError, match=r"4\.0 min of clean driving cannot support .* at least 3\.0 h"):
        fit(table, target_per_hour=1.0)
    small = fit(table, target_per_hour=1.0, allow_small=True, hold_out="worst")
    assert "rule of three" in small.notes[0]
    assert all(rate.events == 0 for rate in small.alarms.values())


def test_pictures_without_time_say_nothing_about_hours():
    """Frames with assumed times, or seconds apart, are no video and give no alarms per hour."""
    table = table_of({"monday": 0.0}, count=200, rate_hz=0.25)
    assert not clean_video(table).streams
    assert fit(table, target_rate=0.1).alarms == {}
    with pytest.raises(CalibrationError, match="needs video"):
        fit(table, target_per_hour=10.0)
    fast = table_of({"monday": 0.0}, count=200)
    assumed = FeatureTable(fast.features, fast.stamps_ns, fast.cameras, fast.drives, {"monday": 10.0})
    assert not clean_video(assumed).streams


def test_cameras_of_one_moment_share_a_block(monitor):
    """Frames of two cameras in the same seconds are held out together, and their hours count once."""
    both = [*frames(20), *frames(20, "left", 1)]
    table = collect_features(both, monitor.frame_pass)
    blocks = blocks_of_time(table, 5.0)
    np.testing.assert_array_equal(blocks[:20], blocks[20:])
    video = clean_video(table)
    assert len(video.streams) == 2
    assert video.hours == pytest.approx(20.0 / 3600.0)


def test_too_little_data_is_refused(monitor):
    """No frame, one block, one drive, and too few frames for the target each have an error of their own."""
    with pytest.raises(CalibrationError, match="no frames"):
        collect_features([], monitor.frame_pass)
    with pytest.raises(CalibrationError, match="no frames to calibrate on in sunday"):
        collect_drives([DriveSource("sunday", lambda: iter(()))], monitor.frame_pass)
    table = table_of({"monday": 0.0}, count=50)
    with pytest.raises(CalibrationError, match="at least 2"):
        fit(table, target_rate=0.2)
    with pytest.raises(CalibrationError, match="one drive"):
        fit(table, target_rate=0.2, hold_out="drive")
    with pytest.raises(CalibrationError, match="50 clean frames cannot support"):
        fit(table, target_rate=0.01, block_s=1.0)
    assert "50 clean frames" in fit(table, target_rate=0.01, block_s=1.0, allow_small=True).notes[0]
    lonely = concatenate_tables([table_of({"monday": 0.0}), table_of({"tuesday": 0.0}, count=1)])
    with pytest.raises(CalibrationError, match="without drive monday 1 clean frame is left"):
        fit(lonely, target_rate=0.2)
    with pytest.raises(ConfigError, match="hold-out"):
        CalibrationSettings(hold_out="frame")
    with pytest.raises(ConfigError, match="oracle"):
        calibrate(table, CalibrationSettings(block_s=1.0), names=["oracle"], head=None)


def test_whole_drives_are_held_out_once():
    """If each block is a whole drive, block and drive scores are the same array."""
    table = table_of({f"d{index}": 0.0 for index in range(12)}, count=10)
    result = fit(table, target_rate=0.1, block_s=None)
    assert result.scores["block"] is result.scores["drive"]
    assert (result.threshold.blocks, result.rates["drive"].units) == (12, 12)


def test_drives_join_in_order(monitor):
    """Two drives become one table; the summary counts frames of each camera and drive."""
    drives = [DriveSource("one", lambda: iter(frames(4))), DriveSource("two", lambda: iter(frames(4, "left")), 4, 10.0)]
    done = []
    table = collect_drives(drives, monitor.frame_pass, progress=done.append)
    assert done == [4, 8]
    two = collect_features(frames(4, "left"), monitor.frame_pass)
    np.testing.assert_array_equal(table.features.of("stage_means")[4:], two.features.of("stage_means"))
    assert summarise(table) == {
        "frames": 8,
        "cameras": {"front": 4, "left": 4},
        "drives": {"one": 4, "two": 4},
        "assumed_rates_hz": {"two": 10.0},
    }


def test_the_stored_table_is_the_table(monitor):
    """Rows, stamps, cameras, drives and assumed rates come back unchanged; damage gives a clear error."""
    table = collect_drives(
        [DriveSource("one", lambda: iter(frames(4))), DriveSource("two", lambda: iter(frames(3, "left")), 3, 10.0)],
        monitor.frame_pass,
    )
    again = unpack_table(pack_table(table))
    for name in monitor.frame_pass.features:
        np.testing.assert_array_equal(again.features.of(name), table.features.of(name))
    np.testing.assert_array_equal(again.stamps_ns, table.stamps_ns)
    assert (again.cameras, again.drives, again.assumed_rates_hz) == (table.cameras, table.drives, {"two": 10.0})
    with pytest.raises(BundleError, match="cannot be read"):
        unpack_table(b"nonsense")


def test_false_alarms_on_further_drives():
    """Frames of another drive above the threshold, with the interval by drive and by frame."""
    fitted = {"multistage": fit(table_of({"monday": 0.0}), target_rate=0.05)}
    rates = false_alarms(fitted, table_of({"sunday": 0.0, "saturday": 0.0}, seed=9))["multistage"]
    assert (rates["frames"], rates["units"]) == (600, 2)
    assert rates["low"] <= rates["rate"] <= rates["high"]
    assert rates["rate"] == pytest.approx(0.05, abs=0.05)


@pytest.mark.parametrize("drives", [1, 3, 12])
def test_the_picture_is_drawn(tmp_path, drives):
    """One drive, a few, and many; with and without alarms an hour; provenance is JSON."""
    import json

    table = table_of({f"d{index}": 0.1 * index for index in range(drives)}, count=250)
    settings = CalibrationSettings(0.05)
    fitted = calibrate(table, settings, names=["multistage"], head=None)
    check = false_alarms(fitted, table_of({"other": 0.0}))
    draw_calibration(fitted, table, tmp_path / "picture.png", check=check, title="test")
    assert (tmp_path / "picture.png").stat().st_size > 10000
    facts = json.loads(json.dumps(provenance_of(table, settings, fitted), allow_nan=False))
    assert (facts["frames"], facts["block_s"], facts["target"]) == (250 * drives, 10.0, {"rate": 0.05})
    assert facts["detectors"]["multistage"]["held_out"]["block"]["frames"] == 250 * drives


def test_default_detectors_calibrate(monitor):
    """Every default detector gets a threshold from the network's own features."""
    table = collect_features(frames(40), monitor.frame_pass)
    settings = CalibrationSettings(0.1, block_s=10.0)
    fitted = calibrate(table, settings, names=DEFAULT_DETECTORS, head=monitor.frame_pass.head)
    assert set(fitted) == set(DEFAULT_DETECTORS)
    assert all(np.isfinite(result.threshold.value) for result in fitted.values())


def test_a_few_unclean_frames_do_not_hide_their_like():
    """3 % of the frames are of another kind, in one block: the detector is not fitted to them, says so, and still sees it."""
    random = np.random.default_rng(0)
    clean, unclean = table_of({"monday": 0.0}, count=600), 18
    rows = {name: np.array(values) for name, values in clean.features.rows.items()}
    for values in rows.values():
        values[100 : 100 + unclean] += 8.0 + random.normal(size=values[:unclean].shape)
    mixed = FeatureTable(FrameFeatures(rows), clean.stamps_ns, clean.cameras, clean.drives)
    settings = {"target_rate": 0.05, "block_s": 2.0}
    result, untouched = fit(mixed, **settings), fit(clean, **settings)
    assert any(f"not fitted to {unclean} of 600 frames" in note and "monday" in note for note in result.notes)
    assert not any("not fitted to" in note for note in untouched.notes)
    rows_of = mixed.features.of("stage_means")
    assert result.detector.score(rows_of[100 : 100 + unclean]).min() > 3.0 * result.threshold.value
    np.testing.assert_allclose(
        result.detector.score(rows_of[200:300]), untouched.detector.score(rows_of[200:300]), rtol=0.1
    )


def test_worst_takes_the_larger_threshold_of_each_path():
    """The sudden threshold may be larger with blocks left out, and the lasting one with drives."""
    from dataclasses import replace

    from ls_ood_monitor.calibration.calibrate import _larger_of_each_path
    from ls_ood_monitor.core.threshold import Threshold

    block = Threshold(2.0, 0.01, 100, 5, 99, "", "", 20.0, 0.5, 1.0)
    drive = replace(block, value=1.9, lasting_value=1.8)
    assert _larger_of_each_path({"block": block, "drive": drive}, "block") == replace(block, lasting_value=1.8)
