"""What the supervisor decided over a whole recording, in columns: it speaks at every tick, twenty times a second."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from ...core.types import FallbackMode
from ..timeline import ModeSample, StopSample


class Decisions(Sequence[ModeSample]):
    """A list of decisions; each is put together when it is asked for. A reason that is said again is kept once."""

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

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        return ModeSample(self._times[index], FallbackMode(self._modes[index]), self._reasons[self._places[index]])

    @property
    def stops(self) -> Stops:
        """The stop command of the same moments."""
        return Stops(self._times, self._modes)


class Stops(Sequence[StopSample]):
    """The stop commands that go with decisions.

    Args:
        times: seconds from the start of the recording.
        modes: ``FallbackMode`` by its number.
    """

    def __init__(self, times: Sequence[float], modes: Sequence[int]) -> None:
        self._times, self._modes = times, modes

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        return StopSample(self._times[index], self._modes[index] == FallbackMode.STOP.value)
