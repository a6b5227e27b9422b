"""Long recordings drawn with few points: what is left out never hides an extreme, a change, or a stop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class LabelledSpan(NamedTuple):
    """A stretch of time with what is shown of it."""

    begin_s: float
    end_s: float
    severity: int  # the larger, the more it matters
    text: str


def keep_extremes(times: ArrayLike, values: ArrayLike, kinds: ArrayLike, most: int) -> NDArray[np.int64]:
    """Indices (K,), in order, of the points to draw; all of them while they are no more than ``most``.

    Time is cut into equal slices. Each keeps its smallest and its largest value and the first point of every kind in it.
    ``times`` (N,) do not fall, ``values`` (N,) are NaN where there is none, ``kinds`` (N,) are small integers of a few kinds.
    A few points more than ``most`` may be kept, never more than ``most`` + 2.
    """
    moments, heights, sorts = np.asarray(times, float), np.asarray(values, float), np.asarray(kinds)
    count = len(moments)
    if count <= most:
        return np.arange(count)
    slices = max(1, most // (2 + len(np.unique(sorts))))
    length = max(float(moments[-1] - moments[0]), 1e-9)
    number = np.minimum(((moments - moments[0]) / length * slices).astype(np.int64), slices - 1)
    lowest = np.lexsort((np.where(np.isnan(heights), np.inf, heights), number))
    highest = np.lexsort((np.where(np.isnan(heights), np.inf, -heights), number))
    chosen = [np.array([0, count - 1])]
    for order in (lowest, highest):
        chosen.append(order[np.unique(number[order], return_index=True)[1]])
    chosen.append(np.unique(np.stack([number, sorts]), axis=1, return_index=True)[1])
    return np.unique(np.concatenate(chosen))


def merge_spans(spans: list[LabelledSpan], most: int) -> list[LabelledSpan]:
    """At most ``most`` stretches; where several share a slice of time, the one of the largest severity stands for all."""
    if len(spans) <= most:
        return spans
    begin = spans[0].begin_s
    length = max(spans[-1].end_s - begin, 1e-9) / most
    worst: list[LabelledSpan | None] = [None] * most
    for span in spans:
        first = min(int((span.begin_s - begin) / length), most - 1)
        last = min(int((span.end_s - begin) / length), most - 1)
        for place in range(first, last + 1):
            other = worst[place]
            if other is None or span.severity > other.severity:
                worst[place] = span
    merged: list[LabelledSpan] = []
    for place, kept in enumerate(worst):
        if kept is None:
            continue
        end_s = begin + (place + 1) * length
        if merged and merged[-1].severity == kept.severity and merged[-1].end_s >= end_s - 1.5 * length:
            merged[-1] = merged[-1]._replace(end_s=end_s)
        else:
            merged.append(LabelledSpan(begin + place * length, end_s, kept.severity, kept.text))
    return merged


def thin_curve(x: ArrayLike, y: ArrayLike, steps: int = 400) -> NDArray[np.int64]:
    """Indices of a curve in the unit square without the points that lie within one of ``steps`` steps of the last."""
    across, up = np.asarray(x, float), np.asarray(y, float)
    cells = np.stack([np.round(across * steps), np.round(up * steps)])
    keep = np.append(True, (np.diff(cells, axis=1) != 0).any(axis=0))
    keep[-1] = True
    return np.flatnonzero(keep)
