"""Silent cameras: perception raises the alarm of each ten times a second; people read from when until when."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from ..core.pipeline import SILENCE_PERIOD_NS

SILENCE_PERIOD_S = SILENCE_PERIOD_NS / 1e9
#: Alarms of one silence lie one period apart; a rounded time may lie a little farther off.
_APART_S = 1.5 * SILENCE_PERIOD_S


class Silence(NamedTuple):
    """A stretch of time in which a camera's alarm was raised because it sent nothing."""

    camera: str
    start_s: float  # its first alarm, from the start of the recording
    end_s: float  # its last one
    alarms: int
    cause: int  # row of the last one's cause, which has how long it had been silent


def silences_of(alarms: pl.DataFrame) -> list[Silence]:
    """The stretches that a replay's alarms of silent cameras form, in the order of their starts."""
    begins = (pl.col("time_s").diff() >= _APART_S).fill_null(False)
    time_s = pl.col("time_s")
    stretches = (
        alarms.filter(~pl.col("from_image"))
        .with_columns(number=begins.cum_sum().over("camera"))
        .group_by("camera", "number", maintain_order=True)
        .agg(start_s=time_s.first(), end_s=time_s.last(), alarms=pl.len(), cause=pl.col("cause").last())
    )
    return [Silence(*row) for row in stretches.drop("number").iter_rows()]
