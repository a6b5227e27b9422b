"""Pixels of 16 bits -> 8 bits, for cameras that use only 10, 12 or 14 of them.

A message says ``mono16``, but not how many bits the sensor has. ``BitDepth`` takes the smallest usual number of bits that
holds the largest value seen from this camera so far. The number never falls, so a dark picture after a bright one keeps its
brightness. A camera that begins in the dark may change its brightness once; a stated number of bits rules that out.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError

#: Bits of sensors whose pixels are stored in 16.
USUAL_BITS = (10, 12, 14, 16)


class BitDepth:
    """Scales the pixels of one camera to 8 bits.

    Args:
        name: the camera, topic or folder, for the note in the log.
        bits: significant bits of a pixel; 0 = by the largest value seen.
    """

    def __init__(self, name: str = "", bits: int = 0) -> None:
        if bits and not 8 <= bits <= 16:
            raise ImageError(f"image bits are {bits}; they must be 0 (found in the pictures) or 8 to 16.")
        self._name, self._is_stated = name, bits > 0
        self.bits = bits or USUAL_BITS[0]
        self._noted = 0

    def to_8_bit(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale uint16 pixels of any shape to uint8.

        Raises ``ImageError`` if a value needs more bits than were stated.
        """
        highest = int(pixels.max(initial=0))
        if highest >> self.bits:
            if self._is_stated:
                raise ImageError(f"a pixel is {highest}, which needs more than the stated {self.bits} bits.")
            self.bits = next(bits for bits in USUAL_BITS if not highest >> bits)
        if self._name and not self._is_stated and self.bits not in (16, self._noted):
            self._noted = self.bits
            logging.getLogger(__name__).warning(
                "%s: the pixels of 16 bits use %d so far; they are scaled by 1/%d",
                self._name,
                self.bits,
                1 << self.bits - 8,
            )
        return np.asarray(pixels >> (self.bits - 8), dtype=np.uint8)
