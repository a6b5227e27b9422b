"""The interface of an inference engine: it runs the encoder and the decoder, and hands out the encoder's results first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

#: Name of a feature or score -> float64 rows (N, ...).
FeatureRows = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class DecoderOutput:
    """Results of the decoder for N pictures."""

    class_ids: NDArray[np.uint8]  # (N, height, width), at the network's input size
    #: (N, h, w) largest softmax probability times 255, at the decoder's own, smaller size; None if a network gives no logits.
    confidence: NDArray[np.uint8] | None
    rows: FeatureRows  # the features that need the decoder


class EnginePass(Protocol):
    """One run over N pictures. Read it before the engine begins the next run."""

    def encoder_rows(self) -> FeatureRows:
        """Features and scores that need the encoder only; waits for the encoder."""
        ...

    def decoder_output(self) -> DecoderOutput:
        """Results of the decoder; runs the decoder, or waits for it."""
        ...


class EngineFacts(Protocol):
    """What callers must know of an engine."""

    name: str  # one of ENGINES except auto
    precision: str  # one of PRECISIONS
    reentrant: bool  # several runs may be in progress at once, in several threads
    preferred_batch_size: int  # default limit of pictures in one run, chosen for small networks


class Engine(EngineFacts, Protocol):
    """Runs the two graphs of our own network."""

    def begin(self, pixels: NDArray[np.uint8], averaging: Tensor, *, decode: bool = True) -> EnginePass:
        """Start a run.

        Args:
            pixels: BGR uint8 (N, height, width, 3) at the network's input size.
            averaging: averaging weights of the masks, float32 (M, h*w) or (N, M, h*w), on the network's device.
            decode: ``decoder_output`` will be read. A GPU then starts the decoder before the scores are read.
        """
        ...
