"""The bundle: everything the vehicle needs, in one folder, verified before use. No pickle.

    manifest.json         settings, thresholds with provenance, SHA-256 and size of every other file
    network.safetensors   weights
    monitor.safetensors   mask bank and detector arrays (``<detector>.<array>``)
    encoder.onnx, decoder.onnx   optional: the network's two graphs for ONNX Runtime, with their weights
    calibration.safetensors   optional: features of the clean frames, to add a drive later; never read on the vehicle

The bundle's identity is the SHA-256 of its manifest, which holds the hashes of the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from . import __version__
from .config import AlarmSettings, from_mapping
from .core.detectors import DETECTORS, Detector, detector_spec
from .core.threshold import Threshold
from .core.types import Frame
from .engines import TorchEngine, check_engine, choose_engine, onnx_engine
from .engines.verification import (
    CLASS_TOLERANCE,
    TOLERANCE,
    Difference,
    check_pictures,
    is_accepted,
    measure_difference,
)
from .errors import BundleError, ConfigError, MonitorError
from .monitor import FramePass, LatentSettings, OodMonitor, choose_device, features_of
from .vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from .vision.preprocess import PreprocessSpec

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
NETWORK = "network.safetensors"
MONITOR = "monitor.safetensors"
CALIBRATION = "calibration.safetensors"
#: Exported graphs by name; a bundle has both or none.
GRAPHS = {"encoder": "encoder.onnx", "decoder": "decoder.onnx"}

#: The bundle shipped with the package: trained and calibrated on the procedural (synthetic) street.
EMBEDDED_BUNDLE = Path(__file__).parent / "bundles" / "street"


@dataclass(frozen=True)
class Manifest:
    """Verified content of ``manifest.json``.

    Attributes:
        bundle_id: SHA-256 of the manifest file, hex.
        content: the parsed JSON object.
    """

    bundle_id: str
    content: Mapping[str, Any]


def save_network(folder: Path, network: DeepLabV3Plus) -> None:
    """Write only ``network.safetensors``; calibration adds the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    (folder / NETWORK).write_bytes(save_tensors(state))


def save_bundle(
    folder: Path | str,
    frame_pass: FramePass,
    latents: LatentSettings,
    detectors: Mapping[str, Detector],
    thresholds: Mapping[str, Threshold],
    detector: str,
    class_names: tuple[str, ...],
    provenance: Mapping[str, Any],
    calibration: bytes | None = None,
) -> str:
    """Write a bundle and return its identity (SHA-256 of the manifest).

    Args:
        folder: made if missing; files of an older bundle in it are replaced.
        frame_pass: network, preprocessing and mask bank; its exported graphs are part of the bundle.
        latents: how the mask bank was drawn.
        detectors: fitted detectors by name.
        thresholds: threshold of each detector.
        detector: name of the default detector.
        class_names: segmentation classes by id.
        provenance: what it was trained and calibrated on, for people and reports; must be JSON.
        calibration: content of ``calibration.safetensors``; None leaves it out.

    Raises:
        ConfigError: ``latents`` names another mask mode than ``frame_pass`` works in.
    """
    if frame_pass.masks != latents.masks:
        raise ConfigError(
            f"masks are {latents.masks!r} in the settings, but the detectors were fitted with {frame_pass.masks!r} ones; "
            "use one mode for both."
        )
    folder = Path(folder)
    save_network(folder, frame_pass.network)
    arrays = {
        f"{name}.{key}": np.ascontiguousarray(value)
        for name, fitted in detectors.items()
        for key, value in fitted.state().items()
    }
    arrays["mask_bank"] = frame_pass.mask_bank.cpu().numpy()
    (folder / MONITOR).write_bytes(save_arrays(arrays))
    names = [NETWORK, MONITOR]
    for graph, name in GRAPHS.items():
        if graph in frame_pass.graphs:
            (folder / name).write_bytes(frame_pass.graphs[graph])
            names.append(name)
        else:
            (folder / name).unlink(missing_ok=True)  # of an older bundle
    if calibration is None:
        (folder / CALIBRATION).unlink(missing_ok=True)  # it would belong to an older bundle
    else:
        (folder / CALIBRATION).write_bytes(calibration)
        names.append(CALIBRATION)
    content = {
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "network": asdict(frame_pass.network.settings),
        "preprocess": asdict(frame_pass.preprocess_spec),
        "latents": asdict(latents),
        "class_names": list(class_names),
        "detector": detector,
        "thresholds": {name: threshold.to_dict() for name, threshold in thresholds.items()},
        "provenance": dict(provenance),
        "files": {name: _file_facts((folder / name).read_bytes()) for name in names},
    }
    return _write_manifest(folder, content)


def _write_manifest(folder: Path, content: dict[str, Any]) -> str:
    content["checksum"] = manifest_checksum(content)
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 over the manifest's other entries, hex: a threshold edited by hand must not pass for a calibrated one."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _file_facts(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def verify_bundle(folder: Path | str | None = None) -> Manifest:
    """Check a bundle's completeness, hashes and format without building the network.

    Raises:
        BundleError: missing, truncated, altered, or made by an incompatible version; the sentence names the file.
    """
    every = (NETWORK, MONITOR, *GRAPHS.values(), CALIBRATION)
    manifest, _ = _read_verified(Path(folder) if folder else EMBEDDED_BUNDLE, every)
    return manifest


def read_calibration(folder: Path | str) -> bytes:
    """Content of the optional ``calibration.safetensors``, verified. Raises ``BundleError``, also when it was left out."""
    _, contents = _read_verified(Path(folder), (CALIBRATION,))
    if CALIBRATION not in contents:
        raise BundleError(
            f"{folder} holds no {CALIBRATION}, to which a drive could be added; calibrate again from all drives, "
            "without --no-table."
        )
    return contents[CALIBRATION]


def _read_verified(folder: Path, wanted: tuple[str, ...] = (NETWORK, MONITOR)) -> tuple[Manifest, dict[str, bytes]]:
    """Read every wanted file of the manifest once, so that what is verified is also what is used."""
    raw = _read(folder, MANIFEST)
    try:
        content = json.loads(raw)
        version, files = content["format_version"], content["files"]
        checksum = content.get("checksum")  # bundles of version 0.1.0 have none
        intact = checksum is None or checksum == manifest_checksum(content)
        held = (NETWORK, MONITOR, *(name for name in (*GRAPHS.values(), CALIBRATION) if name in files))
        facts = {name: (int(files[name]["bytes"]), str(files[name]["sha256"])) for name in held}
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{folder / MANIFEST} is not a bundle manifest ({error!r}); make the bundle again."
        ) from error
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{folder} has bundle format {version!r}, this version reads {FORMAT_VERSION}; calibrate again with this version."
        )
    if not intact:
        raise BundleError(
            f"{folder / MANIFEST} does not match its own checksum: edited or damaged; copy the bundle again, or set "
            "thresholds with 'ls-ood calibrate'."
        )
    contents = {}
    for name, (size, digest) in facts.items():
        if name not in wanted:
            continue
        data = _read(folder, name)
        if len(data) != size:
            raise BundleError(
                f"{folder / name} has {len(data)} bytes, its manifest says {size}: truncated or replaced; "
                "copy the bundle again."
            )
        if hashlib.sha256(data).hexdigest() != digest:
            raise BundleError(
                f"{folder / name} does not match the SHA-256 in its manifest: altered or damaged; "
                "copy the bundle again."
            )
        contents[name] = data
    return Manifest(hashlib.sha256(raw).hexdigest(), content), contents


def _read(folder: Path, name: str) -> bytes:
    if not folder.is_dir():
        raise BundleError(
            f"there is no bundle folder {folder}; make one with 'ls-ood calibrate' or leave the path empty."
        )
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{folder} lacks {name}: not a bundle, or an incomplete copy.") from error
    except OSError as error:
        raise BundleError(f"{folder / name} cannot be read: {error.strerror}.") from error


def load_bundle(
    folder: Path | str | None = None,
    *,
    device: str = "auto",
    detector: str | None = None,
    engine: str = "auto",
    precision: str = "fp32",
    threads: int = 0,
) -> OodMonitor:
    """Verify a bundle and build the monitor from it.

    An engine other than eager torch is held against it, on pictures made for that, and refused where it differs.

    Args:
        folder: bundle folder; None or empty = the embedded bundle.
        device: auto, cpu, cuda or cuda:<index>.
        detector: use this detector instead of the bundle's default.
        engine: as in ``engines.ENGINES``; auto = ONNX Runtime on a CPU where it is installed and the bundle has graphs for it.
        precision: as in ``engines.PRECISIONS``.
        threads: CPU threads of ONNX Runtime; 0 = as many as torch uses. Torch's own are set by ``torch.set_num_threads``.

    Raises:
        BundleError: see ``verify_bundle``; also weights or arrays that do not fit the settings, or an engine whose results
            differ from those of eager torch by more than is allowed.
        ConfigError: unknown device or engine, one that cannot be used here, or a detector the bundle does not hold.
    """
    path = Path(folder) if folder else EMBEDDED_BUNDLE
    target = choose_device(device)
    check_engine(engine, precision, target)
    with_graphs = engine in ("auto", "onnx") and target.type in ("cpu", "cuda")
    manifest, files = _read_verified(path, (NETWORK, MONITOR, *(GRAPHS.values() if with_graphs else ())))
    content = manifest.content
    graphs = {graph: files[name] for graph, name in GRAPHS.items() if name in files}
    chosen = choose_engine(engine, target, graphs)
    if chosen == "onnx" and not graphs:
        raise ConfigError(f"engine is onnx, but {path} holds no exported graphs; run 'ls-ood bundle export' on it.")
    try:
        network = DeepLabV3Plus(from_mapping(NetworkSettings, content["network"]))
        network.load_state_dict(load_tensors(files[NETWORK]))
        arrays = load_arrays(files[MONITOR])
        thresholds = {name: Threshold.from_dict(values) for name, values in content["thresholds"].items()}
        unknown = sorted(set(thresholds) - set(DETECTORS))
        if unknown:
            raise BundleError(f"detector {', '.join(unknown)} is not known to this version")
        frame_pass = FramePass(
            network,
            from_mapping(PreprocessSpec, content["preprocess"]),
            torch.from_numpy(arrays.pop("mask_bank")),
            target,
            features_of(thresholds),
            masks=from_mapping(LatentSettings, content["latents"]).masks,
            engine=chosen,
            precision=precision,
            graphs=graphs,
            threads=threads,
        )
        detectors = {name: DETECTORS[name].from_state(_with_prefix(arrays, name)) for name in thresholds}
        default, class_names = str(content["detector"]), tuple(content["class_names"])
        if len(class_names) != network.settings.classes:
            raise BundleError(f"{len(class_names)} class names for {network.settings.classes} classes")
        provenance = content["provenance"]
        calibration = provenance.get("calibration", {})
        alarm = from_mapping(AlarmSettings, calibration.get("alarm", {}))
        cameras = tuple(calibration.get("cameras", {}))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError, MonitorError) as error:
        raise BundleError(f"{path} does not fit this version ({error}); calibrate again with this version.") from error
    monitor = OodMonitor(
        frame_pass,
        detectors,
        thresholds,
        detector or default,
        class_names,
        manifest.bundle_id,
        alarm,
        cameras,
        provenance,
    )
    if chosen != "eager" or target.type != "cpu":
        monitor.difference = accepted_difference(monitor)
    return monitor


def difference_from_eager(monitor: OodMonitor) -> Difference:
    """How far a monitor is from eager torch in single precision that captures nothing and scores on the host."""
    frame_pass = monitor.frame_pass
    pictures = check_pictures(frame_pass.preprocess_spec)
    run = monitor.begin([Frame(picture, 1, "") for picture in pictures])
    scores = {name: np.array([one.scores[name] for one in run.verdicts]) for name in monitor.detectors}
    reference = TorchEngine(frame_pass.network, frame_pass.preprocess_spec, frame_pass.features, captured=False)
    eager = reference.begin(pictures, frame_pass.averaging)
    planes = eager.planes()
    rows = {**eager.rows(), **planes.rows}
    expected = {name: one.score(rows[detector_spec(name).feature]) for name, one in monitor.detectors.items()}
    thresholds = {name: monitor.thresholds[name].value for name in monitor.detectors}
    return measure_difference(scores, run.run.class_ids, expected, planes.class_ids, thresholds)


def accepted_difference(monitor: OodMonitor) -> Difference:
    """The same, where it is small enough for the engine's precision. Raises ``BundleError`` where it is not."""
    engine = monitor.frame_pass.engine
    difference = difference_from_eager(monitor)
    if not is_accepted(difference, engine.precision):
        raise BundleError(
            f"engine {engine.name} in {engine.precision} does not give what eager torch gives: {difference}; allowed are "
            f"{TOLERANCE[engine.precision]:g} and {CLASS_TOLERANCE[engine.precision]:g}. Export the bundle again "
            "('ls-ood bundle export'), or use engine eager and precision fp32."
        )
    return difference


def export_bundle(folder: Path | str) -> str:
    """Add the exported graphs to a bundle; they are part of its identity, which is returned (SHA-256 of the manifest).

    Raises:
        BundleError: see ``load_bundle``; also where ONNX Runtime makes something else of the graphs than torch.
        ConfigError: a package for exporting is missing, or masks or features that cannot be exported.
    """
    from .engines.export import export_graphs  # needs packages that no vehicle has

    path = Path(folder)
    monitor = load_bundle(path, device="cpu", engine="eager")
    frame_pass = monitor.frame_pass
    if frame_pass.masks != "fixed":
        raise ConfigError("fresh masks cannot be exported; calibrate with --masks fixed.")
    encoder, decoder = export_graphs(
        frame_pass.network, frame_pass.preprocess_spec, frame_pass.features, frame_pass.averaging
    )
    graphs = {"encoder": encoder, "decoder": decoder}
    if onnx_engine.is_installed():  # else it is held against torch where it is first loaded
        exported = FramePass(
            frame_pass.network,
            frame_pass.preprocess_spec,
            frame_pass.mask_bank,
            "cpu",
            frame_pass.features,
            engine="onnx",
            graphs=graphs,
        )
        accepted_difference(
            OodMonitor(
                exported,
                monitor.detectors,
                monitor.thresholds,
                monitor.detector,
                monitor.class_names,
                monitor.bundle_id,
            )
        )
    content = dict(verify_bundle(path).content)
    del content["checksum"]
    for graph, name in GRAPHS.items():
        (path / name).write_bytes(graphs[graph])
    content["files"] = {**content["files"], **{name: _file_facts(graphs[graph]) for graph, name in GRAPHS.items()}}
    return _write_manifest(path, content)


def _with_prefix(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}
