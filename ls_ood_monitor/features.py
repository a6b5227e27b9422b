"""Features of one forward pass, by name. Detectors read them.

``NetworkPass`` computes each tensor at its first use. So only the features that are read are computed, and the decoder runs
only if one of them needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the customary name

from .core.grid import GRID
from .errors import ConfigError
from .vision import uncertainty
from .vision.deeplabv3p import DeepLabV3Plus, Features
from .vision.latent_entropy import tensor_entropies
from .vision.mc_dropout import masked_features, sample_latents

#: Largest number of channels of a stage in ``cells``. The cost of a covariance grows with its square, and the channels of a
#: wide encoder are redundant: a choice without looking at the data loses little (Defard et al., PaDiM, ICPR 2021).
CELL_CHANNELS = 128
#: Largest number of decoder passes for the mutual information, one per mask.
MI_SAMPLES = 8


class NetworkPass:
    """Tensors of one pass over N pictures. Each is computed once, at its first use.

    Args:
        network: in eval mode.
        encoded: output of its encoder; features of the decoder need the first and the last stage only.
        averaging: averaging weights of the masks (``mc_dropout``), (M, h*w), or (N, M, h*w) with masks for each picture.
    """

    def __init__(self, network: DeepLabV3Plus, encoded: Features, averaging: Tensor) -> None:
        self.network = network
        self.encoded = encoded
        self.averaging = averaging
        # Not ``functools.cached_property``: before Python 3.12 it takes a lock, which splits the graph of torch's compiler.
        self._latents: Tensor | None = None
        self._penultimate: Tensor | None = None
        self._logits: Tensor | None = None

    @property
    def latents(self) -> Tensor:
        """(N, M, C) Monte-Carlo latents."""
        if self._latents is None:
            self._latents = sample_latents(self.encoded.high, self.averaging)
        return self._latents

    @property
    def penultimate(self) -> Tensor:
        """(N, P, H/4, W/4), input of the last layer."""
        if self._penultimate is None:
            self._penultimate = self.network.penultimate(self.encoded.low, self.encoded.high)
        return self._penultimate

    @property
    def logits(self) -> Tensor:
        """(N, classes, H/4, W/4), at the decoder's own resolution."""
        if self._logits is None:
            self._logits = self.network.classify(self.penultimate)
        return self._logits

    def sampled_probabilities(self, samples: int) -> Iterator[Tensor]:
        """Class probabilities (N, classes, H/4, W/4) of up to ``samples`` decoder passes, each with one mask."""
        for index in range(min(samples, self.averaging.shape[-2])):
            high = masked_features(self.encoded.high, self.averaging, index)
            yield self.network.classify(self.network.penultimate(self.encoded.low, high)).softmax(dim=1)


def pool_cells(plane: Tensor) -> Tensor:
    """Mean of (N, C, h, w) over each cell of ``GRID`` -> (N, cells, C), row by row from the top left."""
    return _adaptive_means(plane, GRID).flatten(2).transpose(1, 2)


def _cells(run: NetworkPass) -> Tensor:
    # Pooled before channels are dropped: selecting channels of a whole stage would copy it.
    return torch.cat([_selected(pool_cells(stage)) for stage in run.encoded.stages[:-1]], dim=2)


def _selected(cells: Tensor) -> Tensor:
    """At most ``CELL_CHANNELS`` channels of (N, cells, C), evenly spaced; channels have no order, so any choice will do."""
    width = cells.shape[2]
    return cells if width <= CELL_CHANNELS else cells[..., cell_channels(width, cells.device)]


def cell_channels(width: int, device: torch.device | str = "cpu") -> Tensor:
    """Indices of the channels of ``cells``, of a stage of ``width`` channels."""
    return torch.linspace(0, width - 1, min(width, CELL_CHANNELS), device=device).round().long()


def _adaptive_means(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """``F.adaptive_avg_pool2d``, in a form that is also fast when exported.

    ONNX has no such pooling: the exporter would gather every window and transpose the plane several times. Two matrix
    products give the same means.
    """
    if not torch.compiler.is_exporting():
        return F.adaptive_avg_pool2d(plane, size)
    rows, columns = (_window_weights(cells, into, plane) for cells, into in zip(plane.shape[2:], size, strict=True))
    return rows @ plane @ columns.transpose(0, 1)


def _window_weights(cells: int, into: int, like: Tensor) -> Tensor:
    """(into, cells) weights: row i averages cells floor(i n / k) to ceil((i + 1) n / k), as adaptive pooling does."""
    weights = torch.zeros(into, cells, dtype=like.dtype, device=like.device)
    for index in range(into):
        first, end = index * cells // into, -(-(index + 1) * cells // into)
        weights[index, first:end] = 1.0 / (end - first)
    return weights


def _class_latents(run: NetworkPass) -> Tensor:
    high = run.encoded.high
    # The class of a cell is that of its mean logits.
    predicted = _adaptive_means(run.logits, (high.shape[2], high.shape[3])).argmax(dim=1)
    cells = F.one_hot(predicted, run.logits.shape[1]).flatten(1, 2).transpose(1, 2).to(high.dtype)  # (N, classes, h*w)
    counts = cells.sum(dim=2, keepdim=True)
    means = cells @ high.flatten(2).transpose(1, 2) / counts.clamp(min=1.0)
    return torch.cat([means, counts / cells.shape[2]], dim=2)


def _output(score: Callable[[Tensor], Tensor]) -> Callable[[NetworkPass], Tensor]:
    """Mean over the pixels of a score of the logits."""
    return lambda run: score(run.logits).mean(dim=(1, 2))[:, None]


#: Feature name -> function from a pass to rows (N, ...).
#:
#: - ``entropies`` (N, C): nats, entropy of each latent over the Monte-Carlo samples (LaREM's and LaRED's input).
#: - ``latent_means`` (N, C): plain spatial mean of the latent, no sampling.
#: - ``stage_means`` (N, D): channel means of the encoder's stages before the last.
#: - ``cells`` (N, cells, E): the same per cell of ``GRID``, of at most ``CELL_CHANNELS`` channels per stage.
#: - ``head_cells`` (N, cells, P): input of the last layer, pooled per cell of ``GRID``.
#: - ``class_latents`` (N, classes, C + 1): mean latent of the cells predicted as each class, then the class's share of
#:   cells; zeros for an absent class.
#: - ``msp``, ``energy``, ``gen``, ``predictive_entropy`` (N, 1): scores of each pixel's logits at the decoder's
#:   resolution, averaged over the pixels (``vision/uncertainty.py``).
#: - ``mutual_information`` (N, 1): nats, averaged likewise, of ``MI_SAMPLES`` decoder passes with masks on the latent. As in
#:   the published setting, low-level features are not masked.
FEATURES: dict[str, Callable[[NetworkPass], Tensor]] = {
    "entropies": lambda run: tensor_entropies(run.latents),
    "latent_means": lambda run: run.encoded.high.mean(dim=(2, 3)),
    "stage_means": lambda run: torch.cat([stage.mean(dim=(2, 3)) for stage in run.encoded.stages[:-1]], dim=1),
    "cells": _cells,
    "head_cells": lambda run: pool_cells(run.penultimate),
    "class_latents": _class_latents,
    "msp": _output(uncertainty.msp),
    "energy": _output(uncertainty.energy),
    "gen": _output(uncertainty.gen),
    "predictive_entropy": _output(uncertainty.predictive_entropy),
    "mutual_information": lambda run: uncertainty.mutual_information(run.sampled_probabilities(MI_SAMPLES)).mean(
        dim=(1, 2)
    )[:, None],
}
#: Features that need the encoder only: their scores need not wait for the decoder.
ENCODER_FEATURES = frozenset({"entropies", "latent_means", "stage_means", "cells"})
#: Features that read the masks of the Monte-Carlo samples.
MC_FEATURES = frozenset({"entropies", "mutual_information"})


@dataclass(frozen=True)
class FrameFeatures:
    """Feature rows of N frames by name; float64 arrays (N, ...)."""

    rows: Mapping[str, NDArray[np.float64]]

    def of(self, name: str) -> NDArray[np.float64]:
        """Rows of one feature (``DetectorSpec.feature``). Raises ``ConfigError`` if it was not computed."""
        if name not in self.rows:
            raise ConfigError(f"feature {name!r} was not computed; computed were {', '.join(self.rows) or 'none'}.")
        return self.rows[name]

    @staticmethod
    def concatenate(parts: Sequence[FrameFeatures]) -> FrameFeatures:
        """Stack the rows of several batches."""
        return FrameFeatures({name: np.concatenate([part.rows[name] for part in parts]) for name in parts[0].rows})


def check_features(names: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple. Raises ``ConfigError`` for an unknown name."""
    known = tuple(names)
    for name in known:
        if name not in FEATURES:
            raise ConfigError(f"there is no feature {name!r}; known: {', '.join(FEATURES)}.")
    return known


def compute_features(run: NetworkPass, names: Iterable[str]) -> FrameFeatures:
    """The named features of a pass. Raises ``ConfigError`` for an unknown name."""
    return FrameFeatures({name: as_rows(FEATURES[name](run)) for name in check_features(names)})


def as_rows(values: Tensor) -> NDArray[np.float64]:
    """A feature as detectors read it: float64, on the host."""
    return np.asarray(values.to("cpu", torch.float64).numpy(), dtype=np.float64)
