"""Every detector by name. All read one kind of feature rows, all score *larger = more OoD*, all are saved as arrays."""

from __future__ import annotations

from ...errors import ConfigError
from .contract import Detector, DetectorSpec, Head
from .gaussian import MahalanobisDetector

__all__ = ["DEFAULT_DETECTORS", "DETECTORS", "Detector", "DetectorSpec", "Head", "MahalanobisDetector", "detector_spec"]


def _mahalanobis(feature: str, source: str) -> DetectorSpec:
    return DetectorSpec(feature, lambda head: MahalanobisDetector(), MahalanobisDetector.from_state, source)


DETECTORS: dict[str, DetectorSpec] = {
    "larem": _mahalanobis("entropies", "Arnez et al., UAI 2024: latent entropies; shrinkage: Ledoit & Wolf 2004"),
    "mahalanobis": _mahalanobis(
        "latent_means", "Lee et al., NeurIPS 2018, one Gaussian on the pooled latent, one pass"
    ),
    "multitap": _mahalanobis("taps", "the same distance on pooled early and middle stages of the encoder"),
}

#: What a bundle holds unless asked otherwise: enough to compare, cheap enough for every frame.
DEFAULT_DETECTORS: tuple[str, ...] = ("larem", "mahalanobis", "multitap")


def detector_spec(name: str) -> DetectorSpec:
    """Entry of the registry. Raises ``ConfigError`` for an unknown name."""
    if name not in DETECTORS:
        raise ConfigError(f"there is no detector {name!r}; known: {', '.join(DETECTORS)}.")
    return DETECTORS[name]
