"""Buffer of the last seconds, with a limit in bytes, and the clips around alarms that need them.

Times are the caller's steady clock, nanoseconds. The buffer is not thread-safe, and nothing in it waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from ..config import EvidenceSettings

T = TypeVar("T")

#: Limit of clips that wait for the writer. Without it a stalled disk would let them grow for ever.
_MAX_WAITING = 4


@dataclass(frozen=True)
class Entry(Generic[T]):
    """An item, the time of its arrival, and its size in bytes."""

    at_ns: int
    size: int
    item: T


@dataclass
class Clip:
    """One clip to be written.

    Attributes:
        camera: camera whose alarm opened it.
        raised_ns: time of that alarm.
        end_ns: end of the clip; later entries are not part of it.
        cursor: number of the next entry to write.
        lost: entries of the clip that were dropped before they were written.
        is_cut: the clip ends early because time jumped or recording ended.
    """

    camera: str
    raised_ns: int
    end_ns: int
    cursor: int
    lost: int = field(default=0)
    is_cut: bool = field(default=False)


class ClipBuffer(Generic[T]):
    """The entries of the last seconds, and the clips to be written from them.

    An entry is kept while a new clip could begin with it, or a clip still needs it. The number of bytes is limited even if
    the writer stalls: the oldest entries are dropped, and those that a clip needed are counted.

    Attributes:
        lost: entries that were dropped before a clip got them.
        skipped: alarms without a clip: a fault too soon after the last one, or too many clips waiting.
        size: bytes in the buffer.
    """

    def __init__(self, settings: EvidenceSettings) -> None:
        self._before_ns = round(settings.evidence_before_s * 1e9)
        self._after_ns = round(settings.evidence_after_s * 1e9)
        self._longest_ns = round(settings.evidence_max_s * 1e9)
        self._fault_gap_ns = round(settings.evidence_fault_gap_s * 1e9)
        self._budget = round(settings.evidence_max_memory_mb * 1e6)
        self._entries: deque[Entry[T]] = deque()
        self._first = 0  # number of the oldest entry
        self._floor = 0  # a later clip must not reach back before this entry
        self._clips: deque[Clip] = deque()
        self._fault_ns: int | None = None
        self.lost = self.skipped = self.size = 0

    @property
    def waiting(self) -> int:
        """Number of clips that are not finished."""
        return len(self._clips)

    def add(self, at_ns: int, size: int, item: T) -> None:
        """Add an entry of ``size`` bytes; ``at_ns`` must not decrease."""
        self._entries.append(Entry(at_ns, size, item))
        self.size += size
        needed = min((clip.cursor for clip in self._clips), default=self._next)
        while self._entries and self.size > self._budget:
            self._drop_oldest()
        while self._entries and self._first < needed and self._entries[0].at_ns < at_ns - self._before_ns:
            self._drop_oldest()

    def alarm(self, at_ns: int, camera: str, is_fault: bool) -> Clip | None:
        """Handle a raised alarm. Returns the clip that it opened or extended; None if it gets none.

        An alarm before the end of the last clip extends it, up to the longest length. Faults open a clip at most once per
        ``evidence_fault_gap_s``.
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
        """End all clips, because time jumped or recording ends. Later clips do not reach back before this time."""
        self._floor = self._next
        for clip in self._clips:
            if at_ns < clip.end_ns:
                clip.end_ns, clip.is_cut = at_ns, True

    def take(self, now_ns: int) -> tuple[Clip, Entry[T] | None] | None:
        """Next step of the writer: a clip and its next entry; a clip and None if the clip is complete; None if there is none."""
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
        """Give up a clip that cannot be written."""
        if clip in self._clips:
            self._clips.remove(clip)

    def forget(self) -> None:
        """Drop all clips and all entries."""
        self._clips.clear()
        while self._entries:
            self._drop_oldest()

    @property
    def _next(self) -> int:
        return self._first + len(self._entries)

    def _number_since(self, at_ns: int) -> int:
        """Number of the first entry of a clip that begins at ``at_ns``."""
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
