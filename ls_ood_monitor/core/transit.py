"""Transit delay of messages without clock synchronisation.

The offset between the sender's clock and the receiver's is unknown but constant. So the delay of a message is measured
against the fastest recent message. Clocks drift apart by up to about 0.1 ms per second, so the fastest message is forgotten
after one to two minutes.
"""

from __future__ import annotations

_WINDOW_NS = 60_000_000_000


class TransitDelay:
    """Delay of a sender's messages, measured against its fastest message of the last one to two minutes."""

    def __init__(self) -> None:
        self._previous_ns: int | None = None  # smallest offset of the last window
        self._smallest_ns: int | None = None  # smallest offset of this window
        self._since_ns = 0

    def of(self, sent_ns: int, received_ns: int) -> int:
        """Nanoseconds that this message took longer than the fastest; 0 or more.

        Args:
            sent_ns: on the sender's steady clock.
            received_ns: on the receiver's steady clock.
        """
        offset_ns = received_ns - sent_ns
        if self._smallest_ns is None:
            self._smallest_ns, self._since_ns = offset_ns, received_ns
        elif received_ns - self._since_ns > _WINDOW_NS:
            self._previous_ns, self._smallest_ns, self._since_ns = self._smallest_ns, offset_ns, received_ns
        self._smallest_ns = min(self._smallest_ns, offset_ns)
        fastest_ns = self._smallest_ns if self._previous_ns is None else min(self._smallest_ns, self._previous_ns)
        return offset_ns - fastest_ns
