"""Frame validator: what must not pass as a good frame."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.config import HealthSettings
from ls_ood_monitor.core.causes import CauseKind
from ls_ood_monitor.core.input_validation import ArrivalMonitor, FrameValidator
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.wording import clause


def frame(stamp_ns: int, seed: int | None = None, size: tuple[int, int] = (48, 64)) -> Frame:
    """A frame whose content follows its stamp, unless a seed is given."""
    random = np.random.default_rng(stamp_ns if seed is None else seed)
    return Frame(random.integers(0, 256, (*size, 3), dtype=np.uint8), stamp_ns, "front")


@pytest.mark.parametrize(
    ("story", "words"),
    [
        ([frame(5), frame(6)], None),
        ([frame(0)], "stamp is 0"),
        ([frame(5), frame(5, seed=1)], "repeated"),
        ([frame(5), frame(3)], "went back"),
        ([frame(5, seed=1), frame(5 + 10**9, seed=1)], "frozen"),
        ([frame(5), frame(6, size=(96, 128))], "size is 128x96, the stream began with 64x48"),
        ([Frame(np.zeros((48, 64, 3), np.uint8), 5, "front")], "100.0% of the picture is black"),
        ([Frame(np.full((48, 64, 3), 255, np.uint8), 5, "front")], "100.0% of the picture is saturated"),
        ([Frame(np.full((48, 64, 3), (255, 0, 0), np.uint8), 5, "front")], r"every pixel is [255, 0, 0]"),
        ([frame(5), Frame(np.zeros((0, 64, 3), np.uint8), 6, "front")], "at least one pixel"),
        ([frame(5), Frame(np.zeros((48, 0, 3), np.uint8), 6, "front")], "at least one pixel"),
        ([frame(5), Frame(np.full((48, 64, 3), np.nan), 6, "front")], "float64"),
    ],
)
def test_the_last_frame_of_a_story(story, words):
    """Each way a frame can lie is named in its sentence."""
    validator = FrameValidator("front")
    for item in story[:-1]:
        assert validator.check(item) is None
    cause = validator.check(story[-1])
    assert cause is None if words is None else words in clause(cause)


@pytest.mark.parametrize("bad", [frame(0, seed=9), frame(3, seed=9), frame(5, seed=9), frame(6, size=(96, 128))])
def test_the_next_good_frame_works(bad):
    """One bad frame is reported; a good one in its stream then passes."""
    validator = FrameValidator("front")
    assert validator.check(frame(5)) is None
    assert validator.check(bad) is not None
    assert validator.check(frame(7)) is None


@pytest.mark.parametrize("size", [(483, 640), (966, 1280), (1944, 2592)])
def test_of_a_large_picture_enough_is_looked_at(size):
    """The sensor's noise tells two pictures of a still scene apart, and a share of it that is black is told to a per cent."""
    scene = np.full((*size, 3), 90, np.uint8)
    scene[: round(0.9 * size[0])] = 0
    validator = FrameValidator("front", HealthSettings(max_blind_share=0.95))
    for stamp_ns in (5, 6):
        noise = np.random.default_rng(stamp_ns).integers(0, 3, scene.shape, dtype=np.uint8)
        assert validator.check(Frame(scene + noise, stamp_ns, "front")) is None
    cause = FrameValidator("front", HealthSettings(max_blind_share=0.85)).check(Frame(scene, 7, "front"))
    share = float(clause(cause).split("%")[0])
    assert share == pytest.approx(90.0, abs=1.0)


def test_an_unusable_picture_leaves_the_reference_alone():
    """After a frame without pixels the next good one is compared with the last good one, and passes."""
    validator = FrameValidator("front")
    assert validator.check(frame(5)) is None
    assert validator.check(Frame(np.zeros((0, 0, 3), np.uint8), 6, "front")) is not None
    assert validator.check(frame(7)) is None


def test_another_size_is_reported_for_as_long_as_it_lasts():
    """The scores belong to the geometry of the first frame; after a reset another may be the first."""
    validator = FrameValidator("front")
    assert validator.check(frame(1)) is None
    assert all(validator.check(frame(stamp, size=(96, 128))).kind is CauseKind.SIZE for stamp in range(2, 6))
    assert validator.check(frame(7)) is None
    validator.reset()
    assert validator.check(frame(8, size=(96, 128))) is None


def test_a_frozen_camera_is_reported_for_as_long_as_it_lasts():
    """From half a second on every repetition is reported, and the first new picture passes."""
    validator = FrameValidator("front")
    assert validator.check(frame(1, seed=1)) is None
    stamps = range(1 + SECOND // 2, 2 * SECOND, SECOND // 10)
    assert all("frozen" in clause(validator.check(frame(stamp, seed=1))) for stamp in stamps)
    assert validator.check(frame(2 * SECOND)) is None


SECOND = 10**9


@pytest.mark.parametrize(
    ("leads_s", "reported"),
    [
        ((0, 0.5, 0), []),  # clocks that are never quite equal
        ((0, 60, 0, 0), [1]),  # one stamp from the future: the next good frame works
        ((0, 60, 60, 60), [1, 2, 3]),  # a clock that stays ahead
        ((60, 60, 0, 0), [0, 1]),  # ahead from the first frame, then set right
        ((-1e6, -1e6 + 50, -1e6 + 51), []),  # a recording with a gap
    ],
)
def test_a_stamp_ahead_of_the_clock_is_reported_while_it_lasts(leads_s, reported):
    """A stamp from the future says nothing about age, and neither blocks the stream before it nor the one after."""
    validator = FrameValidator("front")
    refused = []
    for index, lead_s in enumerate(leads_s):
        now_ns = (2 * 10**6 + index * 3) * SECOND
        if validator.check(frame(now_ns + round(lead_s * SECOND)), now_ns) is not None:
            refused.append(index)
    assert refused == reported


def test_without_a_clock_no_stamp_is_from_the_future():
    """Simulated time that has not begun is no measure."""
    validator = FrameValidator("front")
    assert validator.check(frame(5), 0) is None
    assert validator.check(frame(10**18), 0) is None


def test_reset_forgets_the_past():
    """After a reset an old stamp is a first stamp."""
    validator = FrameValidator("front")
    validator.check(frame(100))
    validator.reset()
    assert validator.check(frame(5)) is None


def with_settings(**settings) -> FrameValidator:
    """A validator with these limits."""
    return FrameValidator("front", HealthSettings(**settings))


@pytest.mark.parametrize(
    ("age_s", "limit_s", "late"),
    [(0.4, 0.5, False), (0.6, 0.5, True), (0.6, 0.0, False), (59.0, 0.5, True), (61.0, 0.5, False), (-0.2, 0.5, False)],
)
def test_an_old_picture_is_late_unless_its_clock_is_another(age_s, limit_s, late):
    """Older than the limit is late; older than a minute is a recording's stamp, which says nothing about delay."""
    now_ns = 10**6 * SECOND
    cause = with_settings(max_age_s=limit_s).check(frame(now_ns - round(age_s * SECOND)), now_ns)
    assert (cause is not None and cause.kind is CauseKind.LATE) == late


def test_a_clock_that_runs_ahead_can_be_allowed_to():
    """With max_clock_lead_s 0 the lead is not checked."""
    assert with_settings(max_clock_lead_s=0.0).check(frame(10**6 * SECOND), SECOND) is None
    assert with_settings(max_clock_lead_s=60.0).check(frame(62 * SECOND), SECOND).kind is CauseKind.CLOCK_AHEAD


@pytest.mark.parametrize(
    ("stamp_s", "now_s", "held_s", "late"),
    [(10, 10.4, 0.4, False), (10, 10.6, 0.1, True), (10, 10.1, 0.6, True), (10, 1e6, 0.4, False), (10, 1e6, 0.6, True)],
)
def test_the_age_of_a_verdict(stamp_s, now_s, held_s, late):
    """By its stamp or by the time it was held here, whichever is more; a recording's stamp tells nothing."""
    cause = with_settings(max_age_s=0.5).check_age(stamp_s * SECOND, round(now_s * SECOND), round(held_s * SECOND))
    assert (cause is not None and cause.kind is CauseKind.LATE) == late


@pytest.mark.parametrize("rate_hz", [5, 10, 30])
def test_a_freeze_is_measured_in_seconds_not_in_frames(rate_hz):
    """A picture that stands for up to half a second is counted, not refused, at any rate; longer, it is frozen."""
    validator = FrameValidator("front")
    causes = [validator.check(frame(1 + index * SECOND // rate_hz, seed=1)) for index in range(rate_hz)]
    frozen = [cause is not None and cause.kind is CauseKind.FROZEN for cause in causes]
    assert frozen == [index / rate_hz >= 0.5 for index in range(rate_hz)]
    assert validator.repeated == rate_hz - 1


def test_a_camera_that_repeats_each_frame_is_healthy():
    """Small cameras give a picture two or three times; 0 s refuses each repetition."""
    stamps = [1 + index * SECOND // 20 for index in range(60)]
    validator, strict = FrameValidator("front"), with_settings(frozen_s=0.0)
    assert all(validator.check(frame(stamp, seed=index // 3)) is None for index, stamp in enumerate(stamps))
    assert validator.repeated == 40
    causes = [strict.check(frame(stamp, seed=index // 3)) for index, stamp in enumerate(stamps)]
    assert sum(cause is not None for cause in causes) == 40


@pytest.mark.parametrize(
    ("size", "encoding", "fault"),
    [
        ((48, 64), "bgr8", None),
        ((48, 65), "bgr8", CauseKind.SIZE),
        ((49, 64), "bgr8", CauseKind.SIZE),
        ((48, 64), "rgb8", CauseKind.ENCODING),
    ],
)
def test_the_size_and_encoding_that_were_agreed(size, encoding, fault):
    """Also a first image of another size or encoding is refused, for as long as it lasts."""
    validator = with_settings(expected_width=64, expected_height=48, expected_encoding="bgr8")
    for stamp in (1, 2):
        cause = validator.check(frame(stamp, size=size)) or validator.check_encoding(encoding)
        assert (cause.kind if cause else None) is fault


@pytest.mark.parametrize(
    ("value", "share", "fault"),
    [(2, 1.0, CauseKind.BLACK), (2, 0.9, None), (253, 1.0, CauseKind.SATURATED), (253, 0.9, None), (60, 1.0, None)],
)
def test_a_picture_that_shows_nothing(value, share, fault):
    """Nearly black or nearly white with a little noise is blind; a dark or bright scene with something in it is not."""
    random = np.random.default_rng(0)
    image = np.clip(value + random.integers(-2, 3, (96, 128, 3)), 0, 255).astype(np.uint8)
    image[: round(96 * (1.0 - share))] = random.integers(0, 256, (round(96 * (1.0 - share)), 128, 3))
    cause = FrameValidator("front").check(Frame(image, 5, "front"))
    assert (cause.kind if cause else None) is fault


def test_arrivals_tell_rate_and_silence():
    """At 10 Hz a camera passes a limit of 8 Hz, at 5 Hz it does not; after the timeout it is stale, whatever the rate was."""
    watch = ArrivalMonitor(HealthSettings(min_rate_hz=8.0), timeout_s=1.0)
    watch.start(0)
    assert watch.check(SECOND // 2) is None
    assert np.isnan(watch.rate_hz())
    for index in range(30):
        watch.arrived(SECOND + index * SECOND // 10)
    now = SECOND + 29 * SECOND // 10
    assert watch.rate_hz() == pytest.approx(10.0)
    assert watch.check(now) is None
    for index in range(1, 13):
        watch.arrived(now + index * SECOND // 5)
    now += 12 * SECOND // 5
    assert watch.check(now).kind is CauseKind.RATE
    assert watch.check(now + 2 * SECOND).kind is CauseKind.STALE
    assert watch.received == 42
    watch.start(now + 2 * SECOND)
    assert watch.check(now + 2 * SECOND) is None
