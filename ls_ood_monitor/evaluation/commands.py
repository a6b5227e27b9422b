"""What the supervisor decided over a whole recording, in columns: it speaks at every tick, twenty times a second."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from ..core.types import FallbackMode
from .columns import Columns
from .timeline import ModeSample, StopSample


class Decisions(Columns[ModeSample]):
    """Decisions in their order. A reason that is said again is kept once."""

    def __init__(self) -> None:
        self._times, self._modes, self._places = array("d"), array("b"), array("q")
        self._reasons: list[str] = []

    def append(self, time_s: float, mode: FallbackMode, reason: str) -> None:
        """Keep one."""
        if not self._reasons or self._reasons[-1] != reason:
            self._reasons.append(reason)
        self._times.append(time_s)
        self._modes.append(mode.value)
        self._places.append(len(self._reasons) - 1)

    def __len__(self) -> int:
        return len(self._times)

    def _row(self, place: int) -> ModeSample:
        return ModeSample(self._times[place], FallbackMode(self._modes[place]), self._reasons[self._places[place]])

    @property
    def stops(self) -> Stops:
        """The stop command of the same moments."""
        return Stops(self._times, self._modes)


class Stops(Columns[StopSample]):
    """The stop commands that go with decisions.

    Args:
        times: seconds from the start of the recording.
        modes: ``FallbackMode`` by its number.
    """

    def __init__(self, times: Sequence[float], modes: Sequence[int]) -> None:
        self._times, self._modes = times, modes

    def __len__(self) -> int:
        return len(self._times)

    def _row(self, place: int) -> StopSample:
        return StopSample(self._times[place], self._modes[place] == FallbackMode.STOP.value)
