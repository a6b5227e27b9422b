"""The one composition: frame -> features -> latents -> entropies -> score. Vehicle, calibration and evaluation use it.

``FramePass`` is the network's side (one forward pass a batch), ``OodMonitor`` adds the fitted detectors and the
threshold. Tensors become arrays here, in one visible place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .config import AlarmSettings, Checked, setting
from .core.detectors import DEFAULT_DETECTORS, Detector, Head, MapsCells, detector_spec
from .core.grid import GRID
from .core.threshold import Threshold
from .core.types import Frame, FrameResult
from .errors import ConfigError
from .features import FrameFeatures, NetworkPass, compute_features
from .vision.deeplabv3p import DeepLabV3Plus, upsample
from .vision.mc_dropout import FreshMasks, averaging_weights, run_time_dropblock
from .vision.preprocess import PreprocessSpec, preprocess


@dataclass(frozen=True)
class LatentSettings(Checked):
    """How latents are sampled; part of what the detectors were fitted to, so stored in the bundle."""

    mc_samples: int = setting(64, "Monte-Carlo samples M, masks in the bank", low=2, high=4096)
    mask_seed: int = setting(0, "seed of the mask bank", low=0, high=2**31 - 1)
    masks: str = setting(
        "fixed", "one bank for every frame, or fresh masks for each, as the reference does", choices=("fixed", "fresh")
    )


def features_of(detectors: Iterable[str]) -> tuple[str, ...]:
    """Names of the features that these detectors read, each once. Raises ``ConfigError`` for an unknown detector."""
    return tuple(dict.fromkeys(detector_spec(name).feature for name in detectors))


@dataclass(frozen=True)
class PassOutput:
    """Output of one forward pass over N frames at the network's own size (height, width).

    Attributes:
        class_ids: uint8 (N, height, width).
        confidence: uint8 (N, height, width), softmax maximum times 255.
        features: detector inputs.
    """

    class_ids: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    features: FrameFeatures


def choose_device(name: str) -> torch.device:
    """Resolve ``auto`` (GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ConfigError: an unknown name, or a GPU asked for where torch sees none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device is {name!r}; use auto, cpu, cuda or cuda:<index>.") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device is {name!r}; use auto, cpu, cuda or cuda:<index>.")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(
            f"device is {name!r}, but torch sees {torch.cuda.device_count()} GPUs; use device cpu or auto."
        )
    return device


class FramePass:
    """One forward pass: pictures in; segmentation, confidence and detector inputs out.

    Args:
        network: trained network; put into eval mode here.
        preprocess_spec: size and normalisation.
        mask_bank: (M, h, w) keep-masks for this input size (``draw_mask_bank``).
        device: resolved torch device.
        features: names of the features to compute (``features.FEATURES``).
        masks: ``fixed`` uses the bank for every frame; ``fresh`` draws as many masks for each frame, with the DropBlock
            that the network was trained with.
        fresh_seed: repeatable drawing of fresh masks; None draws differently in every run.
    """

    def __init__(
        self,
        network: DeepLabV3Plus,
        preprocess_spec: PreprocessSpec,
        mask_bank: torch.Tensor,
        device: torch.device | str = "cpu",
        features: Iterable[str] = features_of(DEFAULT_DETECTORS),
        *,
        masks: str = "fixed",
        fresh_seed: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.preprocess_spec = preprocess_spec
        self.mask_bank = mask_bank
        self.features = tuple(features)
        self.masks = masks
        self._averaging = averaging_weights(mask_bank).to(self.device)
        self._fresh = _fresh_masks(network, mask_bank, fresh_seed) if masks == "fresh" else None

    @property
    def head(self) -> Head:
        """The network's last layer, for detectors that need it."""
        weight, bias = self.network.head()
        return Head(weight.to("cpu", torch.float64).numpy(), bias.to("cpu", torch.float64).numpy())

    def _start(self, images: Sequence[NDArray[np.uint8]]) -> NetworkPass:
        pictures = preprocess(images, self.preprocess_spec, self.device)
        return NetworkPass(self.network, pictures, self._weights)

    def _weights(self, frames: int) -> torch.Tensor:
        return self._averaging if self._fresh is None else self._fresh.weights(frames).to(self.device)

    @torch.inference_mode()
    def features_of(self, images: Sequence[NDArray[np.uint8]]) -> FrameFeatures:
        """Only the features, as calibration needs them: the decoder runs only if one of them needs it."""
        return compute_features(self._start(images), self.features)

    @torch.inference_mode()
    def run(self, images: Sequence[NDArray[np.uint8]]) -> PassOutput:
        """Run N >= 1 BGR uint8 pictures (H, W, 3), of any sizes, through the network once."""
        spec = self.preprocess_spec
        run = self._start(images)
        features = compute_features(run, self.features)
        confidence, class_ids = upsample(run.logits, (spec.height, spec.width)).softmax(dim=1).max(dim=1)
        # A NaN casts to an arbitrary byte; zero confidence is the honest one.
        confidence = (confidence.nan_to_num(0.0) * 255.0).round()
        return PassOutput(class_ids.to(torch.uint8).cpu().numpy(), confidence.to(torch.uint8).cpu().numpy(), features)


def _fresh_masks(network: DeepLabV3Plus, mask_bank: torch.Tensor, seed: int | None) -> FreshMasks:
    """A drawing that gives masks of the bank's number and size."""
    count, rows, columns = mask_bank.shape
    settings = network.settings
    block, prob = run_time_dropblock(settings.dropblock_size, settings.dropblock_prob, rows, columns)
    return FreshMasks(count, rows, columns, block_size=block, drop_prob=prob, seed=seed)


class OodMonitor:
    """Judges frames with a calibrated bundle; made by ``bundle.load_bundle``.

    Attributes:
        frame_pass: the network's side.
        detectors: fitted detectors by name.
        thresholds: calibrated threshold of each detector.
        detector: name of the one that raises alarms.
        class_names: names of the segmentation classes, by id.
        bundle_id: SHA-256 of the bundle's manifest, hex.
        alarm: what raises and clears an alarm, as the thresholds were calibrated.
        cameras: names of the cameras it was calibrated on; empty where the bundle does not tell.
        provenance: what it was trained and calibrated on, as its manifest tells; for people and reports.
    """

    def __init__(
        self,
        frame_pass: FramePass,
        detectors: Mapping[str, Detector],
        thresholds: Mapping[str, Threshold],
        detector: str,
        class_names: Sequence[str],
        bundle_id: str,
        alarm: AlarmSettings | None = None,
        cameras: Sequence[str] = (),
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        if detector not in detectors:
            raise ConfigError(f"detector is {detector!r}; this bundle holds {', '.join(sorted(detectors))}.")
        self.frame_pass = frame_pass
        self.detectors = dict(detectors)
        self.thresholds = dict(thresholds)
        self.detector = detector
        self.class_names = tuple(class_names)
        self.bundle_id = bundle_id
        self.alarm = alarm if alarm is not None else AlarmSettings()
        self.cameras = tuple(cameras)
        self.provenance = dict(provenance or {})

    @property
    def threshold(self) -> float:
        """Score of the chosen detector above which a frame is OoD."""
        return self.thresholds[self.detector].value

    @property
    def usual(self) -> float:
        """Score of a usual clean frame (``Threshold.usual``); NaN in bundles of earlier versions."""
        return self.thresholds[self.detector].usual

    def warm_up(self, batch: int = 1) -> None:
        """Run one blank batch so that the first real frame does not pay for lazy set-up."""
        spec = self.frame_pass.preprocess_spec
        self.frame_pass.run([np.zeros((spec.height, spec.width, 3), np.uint8)] * batch)

    def process(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Judge the frames of one tick as one batch; results in the same order.

        A frame whose score is not finite is returned as such: the alarm treats NaN as *not OK*.
        """
        if not frames:
            return []
        output = self.frame_pass.run([frame.image for frame in frames])
        scores = {
            name: fitted.score(output.features.of(detector_spec(name).feature))
            for name, fitted in self.detectors.items()
        }
        chosen = self.detectors[self.detector]
        maps: NDArray[np.float32] | None = None
        if isinstance(chosen, MapsCells):
            cells = chosen.cell_scores(output.features.of(detector_spec(self.detector).feature))
            maps = cells.reshape(len(frames), *GRID).astype(np.float32)
        return [
            FrameResult(
                frame=frame,
                segmentation=_to_size(output.class_ids[index], frame.image, cv2.INTER_NEAREST),
                confidence=_to_size(output.confidence[index], frame.image, cv2.INTER_LINEAR),
                score=float(scores[self.detector][index]),
                threshold=self.threshold,
                detector=self.detector,
                scores={name: float(values[index]) for name, values in scores.items()},
                anomaly_map=None if maps is None else maps[index],
            )
            for index, frame in enumerate(frames)
        ]


def _to_size(plane: NDArray[np.uint8], image: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if plane.shape == (height, width):
        return plane
    return np.asarray(cv2.resize(plane, (width, height), interpolation=interpolation), dtype=np.uint8)
