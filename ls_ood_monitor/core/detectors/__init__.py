"""The registry of detectors. Each reads one kind of feature rows; a larger score means more out of distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from .base import Detector
from .classwise import ClasswiseDetector
from .density import DensityDetector, TwoClassDensityDetector
from .gaussian import MahalanobisDetector
from .head import AshDetector, DiceDetector, Head, HeadDetector, ReactDetector, VimDetector
from .mixture import MixtureDetector
from .neighbours import NeighbourDetector
from .output import OutputDetector
from .spatial import SpatialDetector

__all__ = [
    "DEFAULT_DETECTORS",
    "DETECTORS",
    "Detector",
    "DetectorSpec",
    "Head",
    "MahalanobisDetector",
    "RENAMED_DETECTORS",
    "SpatialDetector",
    "detector_spec",
    "refuse_old_name",
    "required_features",
]


@dataclass(frozen=True)
class DetectorSpec:
    """One entry of the registry.

    Attributes:
        feature: name of the feature it reads (``features.FEATURES``).
        make: makes an unfitted detector; takes the network's last layer, which most detectors ignore.
        from_state: rebuilds a fitted detector from stored arrays; raises ``BundleError``.
        source: paper or origin.
        supervised: the detector is fitted to OoD rows, too.
    """

    feature: str
    make: Callable[[Head], Detector]
    from_state: Callable[[Mapping[str, NDArray[np.float64]]], Detector]
    source: str
    supervised: bool = False


def _on_rows(detector: type[Detector], feature: str, source: str, *, supervised: bool = False) -> DetectorSpec:
    return DetectorSpec(feature, lambda head: detector(), detector.from_state, source, supervised)


def _on_head(detector: type[HeadDetector], source: str) -> DetectorSpec:
    return DetectorSpec("head_cells", detector, detector.from_state, f"{source}, on cells of a grid")


def _on_output(feature: str, source: str) -> DetectorSpec:
    return _on_rows(OutputDetector, feature, f"{source}, mean over pixels")


DETECTORS: dict[str, DetectorSpec] = {
    "spatial": _on_rows(
        SpatialDetector, "cells", "this project: whole frame, blocks and cells, on early and middle stages"
    ),
    "larem": _on_rows(
        MahalanobisDetector,
        "entropies",
        "Arnez et al., UAI 2024: latent entropies; shrinkage: Ledoit & Wolf 2004",
    ),
    "lared": _on_rows(DensityDetector, "entropies", "Arnez et al., UAI 2024: density of latent entropies"),
    "kde_two_class": _on_rows(
        TwoClassDensityDetector,
        "entropies",
        "the reference's first monitor, Arnez et al. 2023 (CEUR-WS 3381, paper 39)",
        supervised=True,
    ),
    "mahalanobis": _on_rows(
        MahalanobisDetector, "latent_means", "Lee et al., NeurIPS 2018, one Gaussian on the pooled latent, one pass"
    ),
    "multistage": _on_rows(
        MahalanobisDetector, "stage_means", "the same distance on pooled early and middle stages of the encoder"
    ),
    "knn": _on_rows(NeighbourDetector, "latent_means", "Sun et al., ICML 2022, on the pooled latent"),
    "gmm": _on_rows(MixtureDetector, "latent_means", "Gaussian mixture on the pooled latent"),
    "ddu": _on_rows(ClasswiseDetector, "class_latents", "Mukhoti et al., CVPR 2023, one latent per predicted class"),
    "vim": _on_head(VimDetector, "Wang et al., CVPR 2022"),
    "react": _on_head(ReactDetector, "Sun et al., NeurIPS 2021"),
    "dice": _on_head(DiceDetector, "Sun & Li, ECCV 2022"),
    "ash": _on_head(AshDetector, "Djurisic et al., ICLR 2023"),
    "msp": _on_output("msp", "Hendrycks & Gimpel, ICLR 2017"),
    "energy": _on_output("energy", "Liu et al., NeurIPS 2020"),
    "gen": _on_output("gen", "Liu et al., CVPR 2023"),
    "predictive_entropy": _on_output("predictive_entropy", "Shannon entropy of the softmax"),
    "mutual_information": _on_output("mutual_information", "Gal et al., ICML 2017 (BALD), DropBlock masks at the seam"),
}

#: Detectors that a bundle holds by default. All of them are cheap enough for every frame.
DEFAULT_DETECTORS: tuple[str, ...] = ("spatial", "larem", "mahalanobis", "multistage")


#: Name until version 0.1 -> name now.
RENAMED_DETECTORS = {"multitap": "multistage"}


def refuse_old_name(name: str) -> None:
    """Raise ``ConfigError`` if a detector had this name in an earlier version; the message gives its name now."""
    if name in RENAMED_DETECTORS:
        raise ConfigError(f"detector {name!r} is called {RENAMED_DETECTORS[name]!r} since version 0.2; use that name.")


def detector_spec(name: str) -> DetectorSpec:
    """Entry of the registry. Raises ``ConfigError`` for an unknown or an old name."""
    refuse_old_name(name)
    if name not in DETECTORS:
        raise ConfigError(f"there is no detector {name!r}; known: {', '.join(DETECTORS)}.")
    return DETECTORS[name]


def required_features(detectors: Iterable[str]) -> tuple[str, ...]:
    """Names of the features that these detectors read, each once. Raises ``ConfigError`` as ``detector_spec`` does."""
    return tuple(dict.fromkeys(detector_spec(name).feature for name in detectors))
