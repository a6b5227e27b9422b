"""Steps of the recorder's clock (set by NTP, or from 1970 on), and pauses: found, and taken out of the time of driving.

A forward step cannot be told from a pause of the recorder; in both no message of any topic was received, and neither is
driving. A backward step shows in the order of recording: a topic's own messages go back in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from .opened import ClockStep, OpenedBag, RawMessage

#: A whole bag without a message for longer is a step or a pause. The same limit makes a stamp one of another clock.
FORWARD_NS = 60_000_000_000
#: Likewise in a damaged file, where a gap may be a part that is lost.
FORWARD_IF_DAMAGED_NS = 3_600_000_000_000
#: Messages of one topic may be recorded out of order by so much.
BACKWARD_NS = 1_000_000_000
#: Time that is left between the last message before a step and the first one after it.
JOINT_NS = 100_000_000


def is_step(before_ns: int, after_ns: int, forward_ns: int = FORWARD_NS) -> bool:
    """Whether the clock was set, or the recording paused, between two messages."""
    return not -BACKWARD_NS <= after_ns - before_ns <= forward_ns


def find_steps(times_ns: Iterable[int], is_damaged: bool = False) -> tuple[ClockStep, ...]:
    """Steps in times of reception, of all topics, in the order of reading."""
    forward_ns = FORWARD_IF_DAMAGED_NS if is_damaged else FORWARD_NS
    steps = []
    before_ns: int | None = None
    for time_ns in times_ns:
        if before_ns is not None and is_step(before_ns, time_ns, forward_ns):
            steps.append(ClockStep(before_ns, time_ns))
            before_ns = time_ns
        # Within a stretch the order may differ by a little, and the end is what counts.
        before_ns = time_ns if before_ns is None else max(before_ns, time_ns)
    return tuple(steps)


def join_steps(parts: Sequence[OpenedBag], is_damaged: bool) -> tuple[ClockStep, ...]:
    """Steps of a bag of several files: those within the files, and those from one file to the next."""
    forward_ns = FORWARD_IF_DAMAGED_NS if is_damaged else FORWARD_NS
    steps: list[ClockStep] = []
    for index, part in enumerate(parts):
        if index and is_step(parts[index - 1].end_ns, part.begin_ns, forward_ns):
            steps.append(ClockStep(parts[index - 1].end_ns, part.begin_ns))
        steps += part.steps
    return tuple(steps)


def duration_ns(opened: OpenedBag) -> int:
    """Time from the first to the last message, without the steps."""
    return opened.end_ns - opened.begin_ns - sum(_shift_ns(step) for step in opened.steps)


def without_steps(messages: Iterable[RawMessage], steps: Sequence[ClockStep]) -> Iterator[RawMessage]:
    """Move the times of reception behind each step, so that time goes on ``JOINT_NS`` after the last message before it."""
    shift_ns, number = 0, 0
    last_ns: int | None = None
    for message in messages:
        while number < len(steps) and _is_behind(message.stamp_ns, last_ns, steps[number]):
            shift_ns += _shift_ns(steps[number])
            number += 1
            last_ns = None
        last_ns = message.stamp_ns
        yield replace(message, stamp_ns=message.stamp_ns - shift_ns) if shift_ns else message


def _is_behind(time_ns: int, last_ns: int | None, step: ClockStep) -> bool:
    """Whether a message was received after a step; the last one, if there is one, was received before it."""
    if step.after_ns > step.before_ns:
        return time_ns >= step.after_ns
    return last_ns is not None and time_ns < last_ns - BACKWARD_NS


def _shift_ns(step: ClockStep) -> int:
    return step.after_ns - step.before_ns - JOINT_NS


class StampShifts:
    """Moves the stamps of each camera as the times of reception were moved, once its own stamps made the same step.

    A camera may be stamped by a clock that did not step; its stamps stay as they are.
    """

    def __init__(self, steps: Sequence[ClockStep]) -> None:
        self._steps = steps
        self._last_ns: dict[str, int] = {}
        self._made: dict[str, int] = {}  # steps that a camera's stamps have made
        self._shift_ns: dict[str, int] = {}

    def shift(self, camera: str, stamp_ns: int) -> int:
        """The stamp of the camera's next image on a clock without steps."""
        last_ns = self._last_ns.get(camera)
        self._last_ns[camera] = stamp_ns
        number = self._made.get(camera, 0)
        if last_ns is not None and is_step(last_ns, stamp_ns):
            for index in range(number, len(self._steps)):
                step = self._steps[index]
                # The same step within what a camera may be silent around it.
                if abs((stamp_ns - last_ns) - (step.after_ns - step.before_ns)) <= FORWARD_NS // 6:
                    self._made[camera] = index + 1
                    self._shift_ns[camera] = self._shift_ns.get(camera, 0) + _shift_ns(step)
                    break
        return stamp_ns - self._shift_ns.get(camera, 0)
