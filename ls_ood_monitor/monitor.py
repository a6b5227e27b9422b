"""The one composition: frame -> features -> latents -> entropies -> score. Vehicle, calibration and evaluation use it.

``FramePass`` is the network's side (one forward pass a batch), ``OodMonitor`` adds the fitted detectors and the
threshold. Tensors become arrays here, in one visible place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .config import AlarmSettings, Checked, setting
from .core.detectors import (
    DEFAULT_DETECTORS,
    ArrayApiDetector,
    ArrayDetector,
    CellDetector,
    Detector,
    Head,
    detector_spec,
)
from .core.grid import GRID
from .core.threshold import Threshold
from .core.types import Frame, FrameResult, Verdict
from .engines import CELLS, SCORE, DecoderOutput, Engine, EnginePass, FeatureRows, make_engine
from .engines.verification import Difference
from .errors import ConfigError
from .features import ENCODER_FEATURES, MC_FEATURES, FrameFeatures, check_features
from .vision.deeplabv3p import DeepLabV3Plus
from .vision.mc_dropout import FreshMasks, averaging_weights, run_time_dropblock
from .vision.preprocess import PreprocessSpec, resize_image

T = TypeVar("T")


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


def choose_device(name: str) -> torch.device:
    """Resolve ``auto`` (GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``; a GPU always comes with its number.

    Raises:
        ConfigError: an unknown name, or a GPU asked for where torch sees none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
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
    # Not all of torch's functions take a GPU without one.
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def limit_gpu_memory(device: str, limit_mb: float) -> None:
    """Let torch take at most so much of a GPU's memory; 0 = no limit. Of no effect where the device is a CPU.

    Sessions that ONNX Runtime opens after this may take as much again, in memory of their own.

    Raises:
        ConfigError: see ``choose_device``; also a limit beyond the memory that there is.
    """
    target = choose_device(device)
    if target.type == "cpu":
        return
    if limit_mb == 0.0:  # an earlier limit of this process must not stay
        torch.cuda.set_per_process_memory_fraction(1.0, target)
        return
    total_mb = torch.cuda.get_device_properties(target).total_memory / 1e6
    if limit_mb > total_mb:
        raise ConfigError(f"gpu_memory_mb is {limit_mb:g}, but {target} has {total_mb:.0f} MB; use less, or 0.")
    torch.cuda.set_per_process_memory_fraction(limit_mb / total_mb, target)


class FramePass:
    """The network's side of the monitor: pictures in; detector inputs, then segmentation and confidence out.

    Args:
        network: trained network; put into eval mode here.
        preprocess_spec: size and normalisation.
        mask_bank: (M, h, w) keep-masks for this input size (``draw_mask_bank``).
        device: resolved torch device.
        features: names of the features to compute (``features.FEATURES``).
        masks: ``fixed`` uses the bank for every frame; ``fresh`` draws as many masks for each frame, with the DropBlock
            that the network was trained with.
        fresh_seed: repeatable drawing of fresh masks; None draws differently in every run.
        engine: that runs it, as in ``engines.ENGINES``.
        precision: as in ``engines.PRECISIONS``.
        graphs: exported graphs, where there are any.
        threads: CPU threads of ONNX Runtime; 0 = as many as torch uses.
        scores: detectors that the engine scores beside the features.

    Raises:
        ConfigError: an unknown feature, or an engine that cannot run this here.
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
        engine: str = "eager",
        precision: str = "fp32",
        graphs: Mapping[str, bytes] | None = None,
        threads: int = 0,
        scores: Mapping[str, ArrayApiDetector] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.preprocess_spec = preprocess_spec
        self.mask_bank = mask_bank
        self.features = check_features(features)
        self.masks = masks
        self.graphs = dict(graphs or {})
        self._fresh_seed = fresh_seed
        self._averaging = averaging_weights(mask_bank).to(self.device)
        draws = masks == "fresh" and not MC_FEATURES.isdisjoint(self.features)
        self._fresh = _fresh_masks(network, mask_bank, fresh_seed) if draws else None
        self.engine: Engine = make_engine(
            engine,
            self.network,
            preprocess_spec,
            self.features,
            self.device,
            precision=precision,
            graphs=graphs,
            threads=threads,
            scores=scores,
        )

    def scoring(self, detectors: Mapping[str, Detector]) -> FramePass:
        """The same pass for these detectors alone: torch on a GPU scores the portable ones, and hands out no features of theirs.

        Else the features would travel to the host, where a wide latent's covariance takes milliseconds. Exported graphs score
        nothing: their features are what the host scores.
        """
        if self.device.type != "cuda" or self.engine.name == "onnx":
            return self
        ported = {
            name: detector
            for name, detector in detectors.items()
            if isinstance(detector, ArrayDetector)
            and detector.portable
            and detector_spec(name).feature in ENCODER_FEATURES
        }
        return FramePass(
            self.network,
            self.preprocess_spec,
            self.mask_bank,
            self.device,
            features_of(name for name in detectors if name not in ported),
            masks=self.masks,
            fresh_seed=self._fresh_seed,
            engine=self.engine.name,
            precision=self.engine.precision,
            graphs=self.graphs,
            scores=ported,
        )

    @property
    def head(self) -> Head:
        """The network's last layer, for detectors that need it."""
        weight, bias = self.network.head()
        return Head(weight.to("cpu", torch.float64).numpy(), bias.to("cpu", torch.float64).numpy())

    @property
    def averaging(self) -> torch.Tensor:
        """(M, h*w) averaging weights of the fixed bank, on the device."""
        return self._averaging

    def begin(self, images: Sequence[NDArray[np.uint8]], *, decode: bool = True) -> PendingPass:
        """Start N >= 1 BGR uint8 pictures (H, W, 3), of any sizes, through the network once.

        ``decode`` tells that the segmentation will be read, so that a GPU need not wait for the question.
        """
        # Always copied: a picture of the network's size is that of the message, which nobody may write.
        pixels = np.stack([resize_image(image, self.preprocess_spec) for image in images])
        averaging = self._averaging if self._fresh is None else self._fresh.weights(len(images)).to(self.device)
        decode = decode or not ENCODER_FEATURES.issuperset(self.features)
        began_ns = time.perf_counter_ns()
        run = self.engine.begin(pixels, averaging, decode=decode)
        return PendingPass(run, self.features, (time.perf_counter_ns() - began_ns) / 1e6)

    def features_of(self, images: Sequence[NDArray[np.uint8]]) -> FrameFeatures:
        """Only the features, as calibration needs them: the decoder runs only if one of them needs it."""
        return self.begin(images, decode=False).features


class PendingPass:
    """A pass of N frames whose results are taken one half after the other, before the next pass begins.

    Attributes:
        network_ms: that the engine has taken so far, to begin, and to hand out what was asked for.
    """

    def __init__(self, run: EnginePass, names: Sequence[str], network_ms: float = 0.0) -> None:
        self._run, self._names, self.network_ms = run, names, network_ms

    @cached_property
    def features(self) -> FrameFeatures:
        """Detector inputs; waits for the decoder only where one of them needs it."""
        rows = dict(self._rows)
        if any(name not in rows for name in self._names):
            rows |= self._planes.rows
        return FrameFeatures({name: rows[name] for name in self._names})

    def scored(self, detector: str) -> tuple[NDArray[np.float64], NDArray[np.float64] | None] | None:
        """Scores (N,) and cells (N, 48) of a detector that the engine has scored; None where it has not."""
        rows = self._rows
        score = rows.get(f"{SCORE}{detector}")
        return None if score is None else (score, rows.get(f"{CELLS}{detector}"))

    @property
    def class_ids(self) -> NDArray[np.uint8]:
        """uint8 (N, height, width) at the network's size."""
        return self._planes.class_ids

    @property
    def confidence(self) -> NDArray[np.uint8]:
        """uint8 (N, h, w), softmax maximum times 255, at the size of the decoder's logits."""
        return self._planes.confidence

    @cached_property
    def _rows(self) -> FeatureRows:
        return self._timed(self._run.rows)

    @cached_property
    def _planes(self) -> DecoderOutput:
        return self._timed(self._run.planes)

    def _timed(self, ask: Callable[[], T]) -> T:
        began_ns = time.perf_counter_ns()
        try:
            return ask()
        finally:
            self.network_ms += (time.perf_counter_ns() - began_ns) / 1e6


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
        difference: of its engine from eager torch, as measured at load; None where eager torch itself runs.
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
        self._scoring = frame_pass.scoring(detectors)
        self.detectors = dict(detectors)
        self.thresholds = dict(thresholds)
        self.detector = detector
        self.class_names = tuple(class_names)
        self.bundle_id = bundle_id
        self.alarm = alarm if alarm is not None else AlarmSettings()
        self.cameras = tuple(cameras)
        self.provenance = dict(provenance or {})
        self.difference: Difference | None = None
        self._one_at_a_time = nullcontext() if frame_pass.engine.reentrant else threading.Lock()

    @property
    def threshold(self) -> float:
        """Score of the chosen detector above which a frame is OoD."""
        return self.thresholds[self.detector].value

    @property
    def usual(self) -> float:
        """Score of a usual clean frame (``Threshold.usual``); NaN in bundles of earlier versions."""
        return self.thresholds[self.detector].usual

    def warm_up(self, batch: int = 1) -> None:
        """Run blank batches of 1 to ``batch`` so that no real frame pays for lazy set-up, compilation or capture."""
        spec = self.frame_pass.preprocess_spec
        for count in range(1, batch + 1):
            run = self._scoring.begin([np.zeros((spec.height, spec.width, 3), np.uint8)] * count)
            _ = run.features, run.class_ids

    def begin(self, frames: Sequence[Frame], *, decode: bool = True) -> MonitorPass:
        """Start to judge N >= 1 frames as one batch; what it gives must be read before the next one begins.

        Args:
            frames: of any sizes and cameras.
            decode: the segmentation will be read; a hint, by which a GPU need not wait for the question.
        """
        return MonitorPass(self, frames, self._scoring.begin([frame.image for frame in frames], decode=decode))

    def process(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Judge the frames of one tick as one batch; results in the same order.

        A frame whose score is not finite is returned as such: the alarm treats NaN as *not OK*. May be called from
        several threads; an engine that allows one run at a time lets them wait for each other.
        """
        if not frames:
            return []
        with self._one_at_a_time:
            return self.begin(frames).results()


class MonitorPass:
    """Frames on their way through the monitor: first what the alarm needs, then the pictures.

    Attributes:
        run: the network's side.
    """

    def __init__(self, monitor: OodMonitor, frames: Sequence[Frame], run: PendingPass) -> None:
        self._monitor, self._frames, self.run = monitor, frames, run

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Of each frame, in their order; waits for no segmentation, unless a detector reads it."""
        monitor = self._monitor
        judged = {name: self._scores(name, fitted) for name, fitted in monitor.detectors.items()}
        scores = {name: values for name, (values, _) in judged.items()}
        cells = judged[monitor.detector][1]
        maps = None if cells is None else cells.reshape(len(self._frames), *GRID).astype(np.float32)
        return [
            Verdict(
                frame,
                float(scores[monitor.detector][index]),
                monitor.threshold,
                monitor.detector,
                {name: float(values[index]) for name, values in scores.items()},
                None if maps is None else maps[index],
            )
            for index, frame in enumerate(self._frames)
        ]

    def _scores(self, name: str, fitted: Detector) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Scores of the frames, and of their cells where the detector raises the alarm and maps them."""
        scored = self.run.scored(name)
        if scored is not None:
            # As on the host: a row that is not finite has no score.
            return np.where(np.isfinite(scored[0]), scored[0], np.nan), scored[1]
        rows = self.run.features.of(detector_spec(name).feature)
        if name == self._monitor.detector and isinstance(fitted, CellDetector):
            return fitted.score_and_cells(rows)
        return fitted.score(rows), None

    def results(self) -> list[FrameResult]:
        """Judgements with the segmentation; waits for the decoder."""
        return [self.result(index) for index in range(len(self._frames))]

    def result(self, index: int) -> FrameResult:
        """That of one frame, whose pictures alone are brought to its size."""
        judgement = self.verdicts[index]
        return FrameResult(
            *(getattr(judgement, spec.name) for spec in fields(Verdict)),
            segmentation=_to_size(self.run.class_ids[index], judgement.frame.image, cv2.INTER_NEAREST),
            confidence=_to_size(self.run.confidence[index], judgement.frame.image, cv2.INTER_LINEAR),
        )


def _to_size(plane: NDArray[np.uint8], image: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if plane.shape == (height, width):
        return plane
    return np.asarray(cv2.resize(plane, (width, height), interpolation=interpolation), dtype=np.uint8)
