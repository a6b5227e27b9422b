"""The network ahead of the replay: order, what is remembered, and who may write."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ls_ood_monitor.core.types import Frame, FrameResult
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.evaluation.score_cache import CachedScorer
from ls_ood_monitor.recordings.bags import ImageArrival

MASK, MAP = np.zeros((8, 8), np.uint8), np.zeros((2, 2), np.float32)


class MeanMonitor:
    """A monitor whose score is the mean of the picture; it keeps which thread judged which picture."""

    threshold, detector = 100.0, "mean"

    def __init__(self):
        self.judged: list[float] = []
        self.threads: set[int] = set()

    def process(self, frames):
        (frame,) = frames
        score = float(frame.image.mean())
        self.judged.append(score)
        self.threads.add(threading.get_ident())
        return [FrameResult(frame, score, 100.0, "mean", {"mean": score}, MAP, segmentation=MASK, confidence=MASK)]


def arrivals(count=12, unusable=(4,), broken_at=None):
    """Pictures that are all alike but for their brightness."""
    for number in range(count):
        if number == broken_at:
            raise DataError("the bag is damaged.")
        image = None if number in unusable else np.full((8, 8, 3), number, np.uint8)
        yield ImageArrival("front", "/front/image", number, number, "bgr8", image)


def scores(network, items, skipped=()):
    """Score of each usable picture, as a replay would ask for it."""
    found = []
    for arrival in network.prefetch(items):
        if arrival.image is not None and arrival.stamp_ns not in skipped:
            verdict = network.judge(Frame(arrival.image, arrival.stamp_ns, arrival.camera))
            assert verdict.latency_ms >= 0.0
            found.append((arrival.stamp_ns, verdict.score))
    return found


EXPECTED = [(number, float(number)) for number in range(12) if number != 4]


@pytest.mark.parametrize("threads", [1, 4])
def test_results_belong_to_their_pictures(tmp_path, threads):
    """Whatever number of threads works ahead, each picture gets its own score, in order."""
    monitor = MeanMonitor()
    with CachedScorer(monitor, tmp_path / "file", "key", "run", False, threads) as network:
        assert scores(network, arrivals()) == EXPECTED
    assert sorted(monitor.judged) == [score for _, score in EXPECTED]
    assert threading.get_ident() not in monitor.threads


def test_what_was_read_before_a_damage_is_judged(tmp_path):
    """The damage is told after the last picture before it, not when reading ahead meets it."""
    seen = []
    with (
        CachedScorer(MeanMonitor(), tmp_path / "file", "key", "run", False, 3) as network,
        pytest.raises(DataError, match="the bag is damaged"),
    ):
        seen.extend(arrival.stamp_ns for arrival in network.prefetch(arrivals(broken_at=7)))
    assert seen == list(range(7))


def test_scores_are_taken_from_the_file_while_the_pictures_are_the_same(tmp_path):
    """A second time nothing is judged; after a picture that is another one all is; a skipped picture stays skipped."""
    path = tmp_path / "file"
    with CachedScorer(MeanMonitor(), path, "key", "one", False) as network:
        assert scores(network, arrivals(), skipped=(6,)) == [pair for pair in EXPECTED if pair[0] != 6]
    again = MeanMonitor()
    with CachedScorer(again, path, "key", "two", True, 2) as network:
        assert scores(network, arrivals(), skipped=(6,)) == [pair for pair in EXPECTED if pair[0] != 6]
    assert again.judged == []

    def other():
        for arrival in arrivals():
            image = np.full((8, 8, 3), 200, np.uint8) if arrival.stamp_ns == 9 else arrival.image
            yield ImageArrival("front", arrival.topic, arrival.received_ns, arrival.stamp_ns, "bgr8", image)

    with CachedScorer(again, path, "key", "three", True, 2) as network:
        assert dict(scores(network, other(), skipped=(6,)))[9] == 200.0
    assert sorted(again.judged) == [10.0, 11.0, 200.0]


@pytest.mark.parametrize(
    ("key", "run", "resume", "judged"),
    [("key", "one", False, 0), ("key", "two", False, 11), ("other", "one", True, 11)],
)
def test_whose_scores_count(tmp_path, key, run, resume, judged):
    """Those of the same command always, those of another one with resume alone, and none of another request."""
    with CachedScorer(MeanMonitor(), tmp_path / "file", "key", "one", False) as network:
        scores(network, arrivals())
    monitor = MeanMonitor()
    with CachedScorer(monitor, tmp_path / "file", key, run, resume) as network:
        assert scores(network, arrivals()) == EXPECTED
    assert len(monitor.judged) == judged


def test_the_map_of_a_recalled_verdict_is_made_when_asked_for(tmp_path):
    """The file holds scores alone; whoever wants the anomaly map gets it from the network."""
    path = tmp_path / "file"
    with CachedScorer(MeanMonitor(), path, "key", "one", False) as network:
        scores(network, arrivals())
    monitor = MeanMonitor()
    with CachedScorer(monitor, path, "key", "one", True) as network:
        arrival = next(network.prefetch(arrivals()))
        verdict = network.judge(Frame(arrival.image, arrival.stamp_ns, arrival.camera))
        assert (verdict.score, verdict.threshold, verdict.detector, monitor.judged) == (0.0, 100.0, "mean", [])
        assert verdict.anomaly_map is None
        drawn = network.with_map(verdict)
        assert drawn.anomaly_map is MAP
        assert monitor.judged == [0.0]
        assert network.with_map(drawn) is drawn


def test_one_evaluation_at_a_time_writes(tmp_path):
    """The second is refused in a sentence; when the first has ended it is not."""
    with (
        CachedScorer(MeanMonitor(), tmp_path / "file", "key", "one", False),
        pytest.raises(DataError, match="another evaluation is writing into"),
    ):
        CachedScorer(MeanMonitor(), tmp_path / "file", "key", "two", True)
    with CachedScorer(MeanMonitor(), tmp_path / "file", "key", "two", True):
        pass
