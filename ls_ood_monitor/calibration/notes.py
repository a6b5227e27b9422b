"""Notes on a calibration: too few blocks, drives to which a detector does not transfer, drives that stand out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..core.intervals import counts_by_unit, wilson_interval
from ..core.threshold import Threshold

#: If more than this many times the target of held-out drives' frames lie above the threshold, a detector does not transfer.
_TRANSFER_TIMES = 2.0
#: A drive is named if even the lower end of its interval is this many times the target.
_OUTLIER_TIMES = 5.0
_FEW_BLOCKS = 10
_MAX_MOMENTS = 6


def calibration_notes(
    drives: Sequence[str],
    units: Mapping[str, NDArray[np.int64]],
    scores: Mapping[str, NDArray[np.float64]],
    candidates: Mapping[str, Threshold],
    threshold: Threshold,
    false_alarms: Sequence[tuple[str, str, float]],
) -> Iterator[str]:
    """Yield what a person should know about one detector's calibration, as sentences.

    Args:
        drives: drive of each of N frames.
        units: what was held out, ``block`` or ``drive`` -> (N,) unit of each frame.
        scores: (N,) held-out scores, by the same names.
        candidates: thresholds, by the same names.
        threshold: the chosen one.
        false_alarms: drive, camera and second of each burst of alarms in the clean drives.
    """
    if threshold.warning:
        yield threshold.warning
    for unit, ids in units.items():
        count = len(np.unique(ids))
        if unit == "block" and count < _FEW_BLOCKS:
            yield f"only {count} blocks: the interval is rough; more drives make it honest."
    if threshold.target_per_hour is not None and false_alarms:
        shown = [f"{drive} {camera} at {at_s:.0f} s" for drive, camera, at_s in false_alarms[:_MAX_MOMENTS]]
        more = f" and {len(false_alarms) - len(shown)} more" if len(false_alarms) > len(shown) else ""
        yield (
            f"alarms in your clean drives, which the target allows: {', '.join(shown)}{more}. Look at them: if they are not "
            "clean, leave them out (--leave-out), and the thresholds fall."
        )
    if "drive" not in scores:
        return
    # The threshold of held-out blocks shows what the next drive would meet if drives were not held out.
    above = scores["drive"] > candidates["block"].value
    accepted = candidates["block"].target_rate
    rate = float(above.mean())
    counts = counts_by_unit(above, drives)
    outliers = {
        name: (hits, frames)
        for name, (hits, frames) in counts.items()
        if hits and wilson_interval(hits, frames)[0] > _OUTLIER_TIMES * accepted
    }
    listing = ", ".join(f"{name} {hits / frames:.0%}" for name, (hits, frames) in islice(outliers.items(), 3))
    more = f" and {len(outliers) - 3} more" if len(outliers) > 3 else ""
    if rate > _TRANSFER_TIMES * accepted and outliers:
        yield (
            f"does not transfer between your drives: at the threshold that blocks of the same drives give, "
            f"{rate:.1%} of the frames of a drive left out lie above it, {accepted:.2%} of those of a block ({listing}{more})."
        )
    elif outliers:
        yield f"stands out when it is left out: {listing}{more} of its frames above; is it clean?"
