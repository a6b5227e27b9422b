"""How long messages were on the way, by two clocks that are never compared themselves.

The sender's clock and the receiver's may stand apart by anything, but by the same: of all messages of late the fastest
tells that distance, and what another took longer is its delay. Two clocks drift apart by some 0.1 ms a second at most,
so the fastest is forgotten after a minute or two.
"""

from __future__ import annotations

_WINDOW_NS = 60_000_000_000


class TransitDelay:
    """Delay of messages of one sender against its fastest one of the last minute or two."""

    def __init__(self) -> None:
        self._before_ns: int | None = None
        self._fastest_ns: int | None = None
        self._since_ns = 0

    def of(self, sent_ns: int, received_ns: int) -> int:
        """Nanoseconds that this message took longer than the fastest; 0 or more.

        Args:
            sent_ns: on the sender's steady clock.
            received_ns: on the receiver's.
        """
        distance = received_ns - sent_ns
        if self._fastest_ns is None:
            self._fastest_ns, self._since_ns = distance, received_ns
        elif received_ns - self._since_ns > _WINDOW_NS:
            self._before_ns, self._fastest_ns, self._since_ns = self._fastest_ns, distance, received_ns
        self._fastest_ns = min(self._fastest_ns, distance)
        known = self._fastest_ns if self._before_ns is None else min(self._fastest_ns, self._before_ns)
        return distance - known
