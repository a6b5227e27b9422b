"""Detectors that change the input of the last layer and read the energy of its logits: ViM, ReAct, DICE, ASH.

They were made for one feature per picture. Here the features before the last layer are pooled per cell of a coarse grid,
each cell is scored, and a frame's score is the mean over its cells. Rows are (N, cells, P). The logits of a cell are W f + b
with the network's last layer W (K, P), b (K,). Energy is -logsumexp(logits), nats (Liu et al., NeurIPS 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ...errors import BundleError, ConfigError, MonitorError
from .base import Arrays, Detector

Self = TypeVar("Self", bound="HeadDetector")


@dataclass(frozen=True)
class Head:
    """The network's last layer, a linear map; some detectors need it.

    Attributes:
        weight: (classes, P).
        bias: (classes,).
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def _check_percentile(percentile: float) -> float:
    if not 0.0 < percentile < 100.0:
        raise ConfigError(f"percentile is {percentile}; it must lie within (0, 100).")
    return percentile


def _energy(cells: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
    """Energy (N, cells) of the logits of cells (N, cells, P)."""
    return -np.asarray(logsumexp(cells @ arrays["weight"].T + arrays["bias"], axis=-1), dtype=np.float64)


class HeadDetector(Detector):
    """Base of the four; its state contains the network's last layer.

    Args:
        head: the network's last layer.
    """

    rows: ClassVar = "N cells P"
    arrays: ClassVar = {"weight": "K P", "bias": "K"}

    def __init__(self, head: Head) -> None:
        super().__init__()
        self._given = {
            "weight": np.asarray(head.weight, dtype=np.float64),
            "bias": np.asarray(head.bias, dtype=np.float64),
        }

    @classmethod
    def _unfitted(cls: type[Self], arrays: Arrays) -> Self:
        return cls(Head(arrays["weight"], arrays["bias"]))


class VimDetector(HeadDetector):
    """ViM: the residual of a feature outside the clean subspace, as a virtual logit, compared with the real logits.

    score of a cell = alpha |R^T (f - o)| + energy; o = -pinv(W) b, R (P, P - d) = the directions of least clean power
    about o, alpha = mean largest logit / mean residual length of clean cells. Unit: that of logits, nats.

    Source: Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022, arXiv 2203.10807.

    Args:
        head: the network's last layer.
        dimensions: d, principal directions, 1 <= d < P; None = the reference's: 1000 from P = 2048 on, 512 from 768 on,
            else P / 2.
    """

    arrays: ClassVar = {**HeadDetector.arrays, "origin": "P", "residual": "P R", "alpha": "1"}

    def __init__(self, head: Head, dimensions: int | None = None) -> None:
        super().__init__(head)
        width = head.weight.shape[1]
        if dimensions is None:
            dimensions = 1000 if width >= 2048 else 512 if width >= 768 else max(1, width // 2)
        if not 1 <= dimensions < width:
            raise ConfigError(f"dimensions is {dimensions}; it must lie within [1, {width - 1}] for {width} features.")
        self.dimensions = dimensions

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        weight, bias = self._given["weight"], self._given["bias"]
        cells = data.reshape(-1, data.shape[-1])
        origin = -np.linalg.pinv(weight) @ bias
        centred = cells - origin
        directions = np.linalg.eigh(centred.T @ centred)[1]  # least power first
        residual = np.ascontiguousarray(directions[:, : centred.shape[1] - self.dimensions])
        length = float(np.linalg.norm(centred @ residual, axis=1).mean())
        if not length > 1e-12 * float(np.linalg.norm(centred, axis=1).mean()):
            raise MonitorError(
                f"clean features have no residual beyond {self.dimensions} directions, so ViM has no scale; "
                "use fewer dimensions."
            )
        alpha = float((cells @ weight.T + bias).max(axis=1).mean()) / length
        return {"origin": origin, "residual": residual, "alpha": np.array([alpha])}

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        lengths = np.linalg.norm((data - arrays["origin"]) @ arrays["residual"], axis=-1)
        return np.asarray((arrays["alpha"][0] * lengths + _energy(data, arrays)).mean(axis=1))


class ReactDetector(HeadDetector):
    """ReAct: energy, nats, after clipping every feature from above at a percentile of all clean features.

    Source: Sun et al., ReAct: Out-of-distribution Detection With Rectified Activations, NeurIPS 2021, arXiv 2111.12797.

    Args:
        head: the network's last layer.
        percentile: of clean feature values, within (0, 100).
    """

    arrays: ClassVar = {**HeadDetector.arrays, "clip": "1"}

    def __init__(self, head: Head, percentile: float = 90.0) -> None:
        super().__init__(head)
        self.percentile = _check_percentile(percentile)

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"clip": np.array([np.percentile(data, self.percentile)])}

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        return np.asarray(_energy(np.minimum(data, arrays["clip"][0]), arrays).mean(axis=1))


class DiceDetector(HeadDetector):
    """DICE: energy, nats, with only those weights that contribute most to clean logits.

    The contribution of weight (k, p) is W_kp times the mean clean feature p. Weights up to the percentile of all
    contributions are set to 0; ``kept`` (K, P) holds the others.

    Source: Sun & Li, DICE: Leveraging Sparsification for Out-of-Distribution Detection, ECCV 2022, arXiv 2111.09805.

    Args:
        head: the network's last layer.
        percentile: of the contributions, within (0, 100).
    """

    arrays: ClassVar = {**HeadDetector.arrays, "kept": "K P"}

    def __init__(self, head: Head, percentile: float = 90.0) -> None:
        super().__init__(head)
        self.percentile = _check_percentile(percentile)

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        contribution = self._given["weight"] * data.mean(axis=(0, 1))
        kept = np.where(contribution > np.percentile(contribution, self.percentile), self._given["weight"], 0.0)
        return {"kept": kept}

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        return np.asarray(_energy(data, {"weight": arrays["kept"], "bias": arrays["bias"]}).mean(axis=1))


class AshDetector(HeadDetector):
    """ASH-S: energy, nats, with a cell's smaller features set to 0 and the rest multiplied by exp(s1 / s2).

    s1 = sum of the cell's features, s2 = sum of the kept ones. Nothing is learnt; ``fit`` only checks the rows.

    Source: Djurisic et al., Extremely Simple Activation Shaping for Out-of-Distribution Detection, ICLR 2023,
    arXiv 2209.09858.

    Args:
        head: the network's last layer.
        percentile: share of a cell's features that is removed, percent, within (0, 100); 65 for the output of
            convolutions, as in the paper and the reference.
    """

    arrays: ClassVar = {**HeadDetector.arrays, "percentile": "1"}

    def __init__(self, head: Head, percentile: float = 65.0) -> None:
        super().__init__(head)
        self.percentile = _check_percentile(percentile)

    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"percentile": np.array([self.percentile])}

    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        width = data.shape[-1]
        removed = width - max(1, width - round(width * float(arrays["percentile"][0]) / 100.0))
        order = np.argpartition(data, removed, axis=-1)
        shaped = data.copy()
        np.put_along_axis(shaped, order[..., :removed], 0.0, axis=-1)
        kept = shaped.sum(axis=-1, keepdims=True)
        # Features follow a ReLU: if their sum is 0, all are 0, and the factor does not matter.
        factor = np.exp(data.sum(axis=-1, keepdims=True) / np.where(kept > 0.0, kept, 1.0))
        return np.asarray(_energy(shaped * factor, arrays).mean(axis=1))

    @classmethod
    def _check_state(cls, arrays: Arrays) -> None:
        if not 0.0 < arrays["percentile"][0] < 100.0:
            raise BundleError(
                f"detector array percentile is {arrays['percentile'][0]}, not within (0, 100); calibrate again."
            )
