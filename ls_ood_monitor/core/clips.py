"""Which of the last seconds belong to a clip around an alarm: windows, and a history bounded in bytes.

Times are the caller's steady clock, nanoseconds. Nothing here is safe for threads, and nothing waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from ..config import EvidenceSettings

T = TypeVar("T")

#: Clips that wait for the writer; more are refused, for a disk that stands still would make them grow without end.
_MAX_WAITING = 4


@dataclass(frozen=True)
class Entry(Generic[T]):
    """What was kept, when it came, and the bytes that it holds on to."""

    at_ns: int
    size: int
    item: T


@dataclass
class Clip:
    """One clip to be written.

    Attributes:
        camera: whose alarm opened it.
        raised_ns: when.
        end_ns: what came later is not part of it.
        cursor: number of the next entry that it is owed.
        lost: entries owed to it that had to go before the writer took them.
        is_cut: time jumped, so it ends earlier than it would.
    """

    camera: str
    raised_ns: int
    end_ns: int
    cursor: int
    lost: int = field(default=0)
    is_cut: bool = field(default=False)


class ClipBuffer(Generic[T]):
    """The last seconds of everything, and the clips that are owed some of them.

    An entry is kept while it is younger than the time before an alarm, or owed to a clip. The bytes are bounded whatever
    the writer does: the oldest go first, and what a clip was owed of them is counted.

    Args:
        settings: windows and budget.

    Attributes:
        lost: entries that clips were owed and did not get.
        skipped: alarms that got no clip: a fault too soon after the last one, or too many clips waiting.
        size: bytes held.
    """

    def __init__(self, settings: EvidenceSettings) -> None:
        self._before_ns = round(settings.evidence_before_s * 1e9)
        self._after_ns = round(settings.evidence_after_s * 1e9)
        self._longest_ns = round(settings.evidence_max_s * 1e9)
        self._fault_gap_ns = round(settings.evidence_fault_gap_s * 1e9)
        self._budget = round(settings.evidence_max_memory_mb * 1e6)
        self._entries: deque[Entry[T]] = deque()
        self._first = 0  # number of the oldest entry; numbers grow by one for ever
        self._floor = 0  # what lies before a jump of time belongs to no later clip
        self._clips: deque[Clip] = deque()
        self._fault_ns: int | None = None
        self.lost = self.skipped = self.size = 0

    @property
    def waiting(self) -> int:
        """Clips that are not finished."""
        return len(self._clips)

    def span_s(self) -> float:
        """Seconds from the oldest entry to the newest."""
        return (self._entries[-1].at_ns - self._entries[0].at_ns) / 1e9 if self._entries else 0.0

    def add(self, at_ns: int, size: int, item: T) -> None:
        """Keep an entry of so many bytes; it comes no earlier than those before it."""
        self._entries.append(Entry(at_ns, size, item))
        self.size += size
        owed = min((clip.cursor for clip in self._clips), default=self._next)
        while self._entries and self.size > self._budget:
            self._drop_oldest()
        while self._entries and self._first < owed and self._entries[0].at_ns < at_ns - self._before_ns:
            self._drop_oldest()

    def alarm(self, at_ns: int, camera: str, is_fault: bool) -> Clip | None:
        """A camera's alarm was raised: returns the clip that it opened or extended; None where it gets none.

        An alarm within the time after the last extends its clip, up to the longest. Faults open a clip at most once in
        the gap between them.
        """
        last = self._clips[-1] if self._clips else None
        if last is not None and at_ns <= last.end_ns and not last.is_cut:
            last.end_ns = max(last.end_ns, min(at_ns + self._after_ns, last.raised_ns + self._longest_ns))
            return last
        too_soon = is_fault and self._fault_ns is not None and at_ns - self._fault_ns < self._fault_gap_ns
        if too_soon or len(self._clips) >= _MAX_WAITING:
            self.skipped += 1
            return None
        if is_fault:
            self._fault_ns = at_ns
        clip = Clip(camera, at_ns, at_ns + self._after_ns, self._number_since(at_ns - self._before_ns))
        self._clips.append(clip)
        return clip

    def cut(self, at_ns: int) -> None:
        """Time jumped, or recording ends: no clip goes on, and none that begins later reaches back."""
        self._floor = self._next
        for clip in self._clips:
            if at_ns < clip.end_ns:
                clip.end_ns, clip.is_cut = at_ns, True

    def take(self, now_ns: int) -> tuple[Clip, Entry[T] | None] | None:
        """What the writer should do next: an entry for a clip, None for a clip that is over; nothing: None at all."""
        if not self._clips:
            return None
        clip = self._clips[0]
        if clip.cursor < self._next and (entry := self._entries[clip.cursor - self._first]).at_ns <= clip.end_ns:
            clip.cursor += 1
            return clip, entry
        if clip.cursor < self._next or now_ns > clip.end_ns:
            self._clips.popleft()
            return clip, None
        return None

    def abandon(self, clip: Clip) -> None:
        """The clip cannot be written: it is owed nothing any more."""
        if clip in self._clips:
            self._clips.remove(clip)

    def forget(self) -> None:
        """Nobody will take any of it: no clip is owed anything, and nothing is held on to."""
        self._clips.clear()
        while self._entries:
            self._drop_oldest()

    @property
    def _next(self) -> int:
        return self._first + len(self._entries)

    def _number_since(self, at_ns: int) -> int:
        """Number of the first entry that a clip from ``at_ns`` on may have."""
        begin = max(0, self._floor - self._first)
        younger = (number for number, entry in enumerate(islice(self._entries, begin, None)) if entry.at_ns >= at_ns)
        return self._first + begin + next(younger, len(self._entries) - begin)

    def _drop_oldest(self) -> None:
        entry = self._entries.popleft()
        self.size -= entry.size
        for clip in self._clips:
            if clip.cursor == self._first:
                clip.cursor += 1
                if entry.at_ns <= clip.end_ns:
                    clip.lost += 1
                    self.lost += 1
        self._first += 1
