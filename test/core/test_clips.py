"""Which entries a clip gets, and that nothing grows without bound, whatever the writer does."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.config import EvidenceSettings
from ls_ood_monitor.core.clips import Clip, ClipBuffer

SECOND = 10**9


def buffer(**settings) -> ClipBuffer[int]:
    """2 s before, 3 s after, 10 s at most, 100 entries of 10 kB."""
    values = {
        "evidence_before_s": 2.0,
        "evidence_after_s": 3.0,
        "evidence_max_s": 10.0,
        "evidence_fault_gap_s": 60.0,
        "evidence_max_memory_mb": 1.0,
    }
    return ClipBuffer(EvidenceSettings(**{**values, **settings}))


def fill(kept: ClipBuffer[int], begin: int, end: int, size: int = 10_000) -> None:
    """An entry every second, named by it."""
    for second in range(begin, end):
        kept.add(second * SECOND, size, second)


def written(kept: ClipBuffer[int], now_s: float) -> list[tuple[Clip, list[int]]]:
    """What a writer would put into each clip by now; the last may be unfinished."""
    clips: list[tuple[Clip, list[int]]] = []
    while (task := kept.take(round(now_s * SECOND))) is not None:
        clip, entry = task
        if not clips or clips[-1][0] is not clip:
            clips.append((clip, []))
        if entry is not None:
            clips[-1][1].append(entry.item)
    return clips


def test_a_clip_holds_the_seconds_before_and_after():
    """Alarm at 10 s: 8 to 13 s, whether the writer waits for the end or follows."""
    for follows in (False, True):
        kept = buffer()
        fill(kept, 0, 11)
        kept.alarm(10 * SECOND, "front", False)
        items = written(kept, 10.0)[0][1] if follows else []
        fill(kept, 11, 20)
        items += written(kept, 20.0)[0][1]
        assert items == [8, 9, 10, 11, 12, 13]
        assert kept.waiting == 0


def test_without_an_alarm_only_the_last_seconds_are_kept():
    """The writer gets nothing, and what is older than the time before an alarm goes."""
    kept = buffer()
    fill(kept, 0, 100)
    assert kept.take(100 * SECOND) is None
    assert kept.size == 3 * 10_000


def test_a_clip_ends_by_time_alone():
    """No entry comes after the alarm: the writer is told that the clip is over once its time has passed, not before."""
    kept = buffer()
    fill(kept, 0, 3)
    clip = kept.alarm(2 * SECOND, "front", False)
    assert [kept.take(3 * SECOND)[1].item for _ in range(3)] == [0, 1, 2]
    assert kept.take(5 * SECOND) is None
    assert kept.take(5 * SECOND + 1) == (clip, None)


def test_a_second_alarm_extends_the_clip_up_to_the_longest():
    """Alarms at 10, 12, 15 and 18 s are one clip; that of 18 s cannot extend it beyond 20 s, and one at 21 s is another."""
    kept = buffer()
    fill(kept, 0, 11)
    first = kept.alarm(10 * SECOND, "front", False)
    for second in (12, 15, 18):
        assert kept.alarm(second * SECOND, "left", False) is first
    assert first.end_ns == 20 * SECOND
    fill(kept, 11, 30)
    second = kept.alarm(29 * SECOND, "left", False)
    assert second is not first
    clips = written(kept, 40.0)
    assert [items for _, items in clips] == [list(range(8, 21)), [27, 28, 29]]


def test_the_seconds_before_a_second_clip_may_lie_in_the_first():
    """Alarms at 10 and 14 s, of which the first clip ends at 13: both have 12 and 13 s, though nobody had written them yet."""
    kept = buffer()
    fill(kept, 0, 11)
    kept.alarm(10 * SECOND, "front", False)
    fill(kept, 11, 15)
    kept.alarm(14 * SECOND, "front", False)
    assert [items for _, items in written(kept, 30.0)] == [[8, 9, 10, 11, 12, 13], [12, 13, 14]]


def test_faults_open_a_clip_once_in_a_while():
    """Within a minute of a fault's clip another fault gets none, an alarm of the score does, and later a fault does again."""
    kept = buffer()
    assert kept.alarm(0, "front", True) is not None
    written(kept, 10.0)
    assert kept.alarm(20 * SECOND, "front", True) is None
    assert kept.skipped == 1
    assert kept.alarm(30 * SECOND, "front", False) is not None
    written(kept, 40.0)
    assert kept.alarm(60 * SECOND, "front", True) is not None


def test_memory_is_bounded_and_what_a_clip_loses_is_counted():
    """A writer that stands still: the oldest go, the budget holds at every moment, and take gives what is left."""
    kept = buffer(evidence_before_s=5.0, evidence_after_s=300.0, evidence_max_s=300.0)
    fill(kept, 0, 5, 100_000)
    clip = kept.alarm(4 * SECOND, "front", False)
    for second in range(5, 30):
        kept.add(second * SECOND, 100_000, second)
        assert kept.size <= 1_000_000
    assert clip.lost == kept.lost == 20
    assert written(kept, 30.0)[0][1] == list(range(20, 30))


def test_what_comes_after_a_clip_is_no_loss_to_it():
    """The writer has all of it but did not look again: what is pushed out since was never the clip's."""
    kept = buffer()
    fill(kept, 0, 11)
    clip = kept.alarm(10 * SECOND, "front", False)
    fill(kept, 11, 14)
    assert [kept.take(13 * SECOND)[1].item for _ in range(6)] == [8, 9, 10, 11, 12, 13]
    fill(kept, 14, 40, 100_000)
    assert (clip.lost, kept.lost) == (0, 0)
    assert kept.take(40 * SECOND) == (clip, None)


def test_one_entry_larger_than_the_budget_is_not_kept():
    """It would break the bound alone."""
    kept = buffer()
    fill(kept, 0, 2)
    kept.add(2 * SECOND, 2_000_000, 2)
    assert kept.size == 0
    kept.add(3 * SECOND, 10, 3)
    assert kept.size == 10


def test_a_small_budget_shortens_the_time_before_without_a_loss():
    """What had gone before the alarm was never owed to its clip."""
    kept = buffer(evidence_before_s=60.0)
    fill(kept, 0, 40, 100_000)
    clip = kept.alarm(39 * SECOND, "front", False)
    assert written(kept, 39.0)[0][1] == list(range(30, 40))
    assert clip.lost == 0


def test_nothing_reaches_over_a_jump_of_time():
    """The clip ends there, the next one begins there, and an alarm right after it opens a clip of its own."""
    kept = buffer()
    fill(kept, 0, 11)
    first = kept.alarm(10 * SECOND, "front", False)
    kept.cut(11 * SECOND - 1)
    fill(kept, 11, 12)
    second = kept.alarm(11 * SECOND, "front", False)
    fill(kept, 12, 20)
    clips = written(kept, 30.0)
    assert [items for _, items in clips] == [[8, 9, 10], [11, 12, 13, 14]]
    assert [clip for clip, _ in clips] == [first, second]
    assert (first.is_cut, second.is_cut) == (True, False)


def test_clips_that_nobody_writes_do_not_pile_up():
    """Four wait; the alarms after them are counted."""
    kept = buffer()
    opened = [kept.alarm(second * SECOND, "front", False) for second in range(0, 60, 10)]
    assert [clip is not None for clip in opened] == [True] * 4 + [False] * 2
    assert kept.skipped == 2


def test_an_abandoned_clip_is_owed_nothing():
    """Its entries go as if it had never been, and the next clip is served."""
    kept = buffer()
    fill(kept, 0, 11)
    clip = kept.alarm(10 * SECOND, "front", False)
    kept.abandon(clip)
    fill(kept, 11, 30)
    assert kept.take(30 * SECOND) is None
    assert kept.size == 3 * 10_000
    assert kept.lost == 0


@pytest.mark.parametrize("seed", range(20))
def test_random_streams_against_a_list(seed):
    """With room for all, every clip holds what a search through the whole stream finds between its ends."""
    random = np.random.default_rng(seed)
    kept = buffer(evidence_max_memory_mb=100.0)
    times = np.cumsum(random.integers(1, SECOND, 200)).tolist()
    clips: dict[int, tuple[Clip, list[int]]] = {}

    def drain(now_ns: int) -> None:
        while (task := kept.take(now_ns)) is not None:
            if task[1] is not None:
                clips[id(task[0])][1].append(task[1].item)

    for at_ns in times:
        kept.add(at_ns, 1000, at_ns)
        if random.random() < 0.05:
            clip = kept.alarm(at_ns, "front", False)
            clips.setdefault(id(clip), (clip, []))
        if random.random() < 0.3:
            drain(at_ns)
    drain(times[-1] + 60 * SECOND)
    assert clips
    for clip, items in clips.values():
        assert items == [at for at in times if clip.raised_ns - 2 * SECOND <= at <= clip.end_ns]


def test_what_nobody_will_take_is_let_go():
    """Forgotten: no clip waits, no byte is held, and a later alarm begins anew."""
    kept = buffer()
    fill(kept, 0, 11)
    kept.alarm(10 * SECOND, "front", False)
    kept.forget()
    assert (kept.waiting, kept.size) == (0, 0)
    fill(kept, 20, 30)
    kept.alarm(29 * SECOND, "front", False)
    assert written(kept, 40.0)[0][1] == [27, 28, 29]
