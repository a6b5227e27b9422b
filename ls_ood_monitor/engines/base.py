"""What an engine is: it runs the two graphs of a frame, and gives the scores' half of it before the segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

FeatureRows = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class DecoderOutput:
    """The decoder's half of N pictures.

    Attributes:
        class_ids: uint8 (N, height, width), at the network's size.
        confidence: uint8 (N, h, w), softmax maximum times 255 at the decoder's own, smaller size.
        rows: features that need the decoder, float64, by name.
    """

    class_ids: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    rows: FeatureRows


class EnginePass(Protocol):
    """One run over N pictures. It must be read before the engine begins the next one."""

    def rows(self) -> FeatureRows:
        """Features that need no decoder, float64 (N, ...), by name; waits for the encoder alone."""
        ...

    def planes(self) -> DecoderOutput:
        """The decoder's half; runs the decoder, or waits for it."""
        ...


class Engine(Protocol):
    """Runs the graphs.

    Attributes:
        name: as in ``ENGINES``, but ``auto``.
        precision: as in ``PRECISIONS``.
        reentrant: several runs may be under way at once, in several threads.
        preferred_batch_size: pictures to give it together, at most, where nobody says otherwise; chosen for small networks.
    """

    name: str
    precision: str
    reentrant: bool
    preferred_batch_size: int

    def begin(self, pixels: NDArray[np.uint8], averaging: Tensor, *, decode: bool = True) -> EnginePass:
        """Start a run.

        Args:
            pixels: BGR uint8 (N, height, width, 3) of the network's size.
            averaging: averaging weights of the masks, (M, h*w) or (N, M, h*w), float32, on the network's device.
            decode: ``planes`` will be read; a hint, by which a GPU begins the decoder before the scores are read.
        """
        ...
