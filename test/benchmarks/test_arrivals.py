"""Figures of published images and their arrivals, on made-up rows."""

from __future__ import annotations

from math import isnan, nan

import arrivals
import pytest

MS = 1_000_000


@pytest.fixture
def story():
    """Six images of one camera, 100 ms apart: the third was withheld, the fourth judged as a fault, the fifth dropped."""
    images = [
        arrivals.Published("front", 1_000 * MS + index * 100 * MS, "clean", False, index != 2, 0.0)
        for index in range(6)
    ]
    arrived = arrivals.Arrivals()
    for index, delay_ms in ((0, 40), (1, 50), (3, 20), (5, 70)):
        stamp_ns = images[index].stamp_ns
        score = nan if index == 3 else 0.5
        at_ns = stamp_ns + delay_ms * MS
        arrived.add(arrivals.Alarm(at_ns, "front", stamp_ns, score, "black" if index == 3 else "", delay_ms, nan, nan))
        if index != 3:
            arrived.add(arrivals.Segmentation(at_ns + MS, "front", stamp_ns))
    before = {"front": arrivals.Counts(0, "front", 100, 7)}
    after = {"front": arrivals.Counts(9_000 * MS, "front", 105, 8)}
    return images, arrived, before, after


def test_a_log_reads_back_as_it_was_written(tmp_path):
    """Every kind of row, with its unknown values."""
    rows = [
        arrivals.Published("front", 1, "clean", False, True, 0.25),
        arrivals.Alarm(5, "front", 1, 0.5, "", 4.0, 3.0, 0.5, 0.25),
        arrivals.Segmentation(6, "front", 1),
        arrivals.Stop(7, True),
        arrivals.Decision(8, "STOP", "camera front: …"),
        arrivals.Counts(9, "front", 3, 1),
    ]
    (tmp_path / "log").write_text("".join(map(arrivals.row_text, rows)), encoding="utf-8")
    assert arrivals.read_rows(tmp_path / "log") == rows
    assert isnan(arrivals.read_row(arrivals.row_text(arrivals.Alarm(5, "front", 1, nan, "stale", nan, nan, nan))).score)


def test_losses_are_all_that_was_never_judged(story):
    """Judged, reported as a fault and silent add up; a withheld image is lost like a dropped one."""
    images, arrived, *_ = story
    lost = arrivals.losses(images, arrived.alarms)
    assert (lost.published, lost.judged, lost.faulted, lost.silent) == (6, 3, 1, 2)
    assert lost.share == pytest.approx(0.5)


def test_delays_run_from_the_stamp_to_the_arrival(story):
    """Of the images that were asked about and no others."""
    images, arrived, *_ = story
    assert arrivals.delays_ms(images, arrived.alarms) == [40.0, 50.0, 20.0, 70.0]
    assert arrivals.delays_ms(images[:2], arrived.segmentations) == [41.0, 51.0]


def test_percentiles_of_nothing_are_unknown():
    """And those of something are numpy's; what is unknown does not count."""
    assert arrivals.percentiles([1.0, nan, 3.0])["p50"] == 2.0
    assert arrivals.percentiles([1.0, nan, 3.0])["count"] == 2
    assert isnan(arrivals.percentiles([])["p99"])


def test_a_right_story_gives_no_complaint(story):
    """Five of six were sent; the node received all five and dropped one; four alarms."""
    assert arrivals.complaints(*story) == []


def unknown_stamp(images, arrived, before, after):
    arrived.alarms.append(arrived.alarms[-1]._replace(stamp_ns=images[-1].stamp_ns + 1))


def of_the_withheld(images, arrived, before, after):
    arrived.alarms.insert(2, arrived.alarms[1]._replace(stamp_ns=images[2].stamp_ns))


def out_of_order(images, arrived, before, after):
    arrived.alarms[0], arrived.alarms[1] = arrived.alarms[1], arrived.alarms[0]


def twice(images, arrived, before, after):
    arrived.alarms.append(arrived.alarms[-1])


def picture_without_alarm(images, arrived, before, after):
    arrived.segmentations.insert(2, arrived.segmentations[0]._replace(stamp_ns=images[4].stamp_ns))


def one_alarm_missing(images, arrived, before, after):
    del arrived.alarms[2]


def more_than_was_sent(images, arrived, before, after):
    after["front"] = after["front"]._replace(received=106, dropped=9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (unknown_stamp, "which no image had"),
        (of_the_withheld, "never sent"),
        (out_of_order, "came after"),
        (twice, "came after"),
        (picture_without_alarm, "has no alarm with a score"),
        (one_alarm_missing, "4 alarms are due; 3 arrived"),
        (more_than_was_sent, "the node received 6 images, but 5 were sent"),
    ],
)
def test_every_wrong_story_is_complained_about(story, change, words):
    """Each thing that must never be has its sentence."""
    change(*story)
    assert any(words in text for text in arrivals.complaints(*story))


def spoiled_story(stops):
    phases = ["clean"] * 3 + ["spoiled"] * 2 + ["recovery"] * 3 + ["spoiled"] * 2 + ["recovery"] * 2
    images = [
        arrivals.Published("front", (1_000 + 100 * index) * MS, phase, phase == "spoiled", True, 0.0)
        for index, phase in enumerate(phases)
    ]
    arrived = arrivals.Arrivals()
    for at_ms, stop in stops:
        arrived.add(arrivals.Stop(at_ms * MS, stop))
        arrived.add(arrivals.Decision(at_ms * MS, "STOP" if stop else "NOMINAL", "fog" if stop else "clear"))
    return images, arrived


def test_a_stop_is_timed_from_the_first_spoiled_stamp():
    """The first stop command after it, in each of two moments."""
    stops = [(900, True), (1_200, False), (1_500, True), (1_600, True), (1_700, False), (1_990, True)]
    result = arrivals.episodes(*spoiled_story(stops))
    assert result == [arrivals.Episode(True, 200.0, "fog"), arrivals.Episode(True, 190.0, "fog")]


def test_a_vehicle_that_stood_already_times_nothing():
    """Nor does one that was never told to stop, or not before the next moment."""
    stood, missed = arrivals.episodes(*spoiled_story([(1_200, True), (1_600, False)]))
    assert (stood.was_free, isnan(stood.stop_ms)) == (False, True)
    assert (missed.was_free, isnan(missed.stop_ms)) == (True, True)


def test_overhead_is_what_is_not_the_network(story):
    """Of the alarms that carry the times; without any there is no figure."""
    images, arrived, *_ = story
    assert arrivals.overhead(images, arrived.alarms) is None
    times = zip(arrived.alarms, (36.0, 42.0), (2.0, 3.0), strict=False)
    arrived.alarms[:2] = [
        alarm._replace(network_ms=network, decode_ms=decode, send_ms=0.0) for alarm, network, decode in times
    ]
    figures = arrivals.overhead(images, arrived.alarms)
    assert figures["p50_ms"] == pytest.approx(3.5)
    assert figures["percent"] == pytest.approx((5.0 + 10.0) / 2)
    arrived.alarms[:2] = [alarm._replace(send_ms=0.5) for alarm in arrived.alarms[:2]]
    assert arrivals.overhead(images, arrived.alarms)["p50_ms"] == pytest.approx(4.0)


@pytest.mark.parametrize("limit", [1.0, 3.7, 10.0, 18.8, 75.0, 240.0])
@pytest.mark.parametrize("start", [1.0, 10.0, 200.0])
def test_the_search_finds_the_highest_rate_to_its_precision(limit, start):
    """Of a node that judges so many images a second, wherever it begins: never above what is held."""

    def attempt(rate):
        return arrivals.Trial(rate, max(0.0, 1.0 - limit / rate), True)

    held = limit / 0.95  # 5 % may be lost
    result = arrivals.highest_rate(attempt, start, 240.0)
    assert result.rate_hz <= held
    assert result.rate_hz >= min(240.0, held) / 1.051
    assert result.limited_by == ("loss" if held < 240.0 else "the ceiling of the search")
    assert len(result.trials) < 20


def test_the_search_says_when_no_rate_or_only_the_source_is_too_slow():
    """Zero where even the lowest rate is lost; the source where it cannot keep up."""
    none = arrivals.highest_rate(lambda rate: arrivals.Trial(rate, 0.5, True), 10.0, 240.0)
    assert none.rate_hz == 0.0
    assert none.trials[-1].rate_hz == 1.0
    slow = arrivals.highest_rate(lambda rate: arrivals.Trial(rate, 0.0, rate < 50.0), 10.0, 240.0)
    assert slow.limited_by == "the source"
    assert 47.0 < slow.rate_hz < 50.0
