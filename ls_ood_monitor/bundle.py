"""The bundle: one folder with everything that the vehicle needs, verified before use. No pickle.

    manifest.json         settings, thresholds with provenance, SHA-256 and size of every other file
    network.safetensors   weights of our own network
    encoder.onnx, decoder.onnx   optional: its two graphs for ONNX Runtime, with their weights
    network.onnx, taps.onnx   instead of these: an adopted network, byte by byte, and the nodes that tap it
    monitor.safetensors   mask bank and detector arrays (``<detector>.<array>``)
    calibration.safetensors   optional: the clean frames, to add a drive later; not read on the vehicle

The bundle's identity is the SHA-256 of its manifest. The manifest contains the hashes of the other files.
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
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors

from . import __version__
from .bundle_upgrade import upgrade_alarm, upgrade_arrays, upgrade_manifest
from .config import AlarmSettings, from_mapping
from .core.detectors import Detector, detector_spec, required_features
from .core.threshold import Threshold
from .core.types import Frame
from .engines import TorchEngine, check_engine, choose_engine, onnx_engine
from .engines.device import choose_device
from .engines.verification import TOLERANCE, Difference, check_pictures, is_accepted, measure_difference
from .errors import BundleError, ConfigError, MonitorError
from .frame_pass import FramePass, LatentSettings
from .monitor import OodMonitor
from .networks import adopted_pass
from .networks.adopted_pass import AdoptedPass
from .networks.deeplab_pass import GRAPHS, MASK_BANK, DeepLabPass
from .networks.deeplab_pass import WEIGHTS as NETWORK
from .vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from .vision.preprocess import PreprocessSpec

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
MONITOR = "monitor.safetensors"
CALIBRATION = "calibration.safetensors"
#: Files of our own network, and those of an adopted one, that a bundle must have.
_NETWORK_FILES = {"": (NETWORK,), adopted_pass.KIND: (adopted_pass.GRAPH, adopted_pass.APPENDED_NODES)}
_OPTIONAL_FILES = (*GRAPHS.values(), CALIBRATION)
#: Every file that a bundle may have beside its manifest.
FILES = (*(name for files in _NETWORK_FILES.values() for name in files), MONITOR, *_OPTIONAL_FILES)

#: The bundle in the package, trained and calibrated on the procedural (synthetic) street.
EMBEDDED_BUNDLE = Path(__file__).parent / "bundles" / "street"


@dataclass(frozen=True)
class Manifest:
    """Verified content of ``manifest.json``.

    Attributes:
        bundle_id: SHA-256 of the manifest file, hex.
        content: the parsed JSON object; of a bundle of format 1 under the names of format 2.
    """

    bundle_id: str
    content: Mapping[str, Any]


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
        folder: made if missing; an older bundle in it is replaced.
        frame_pass: network, preprocessing and, if it has them, mask bank and exported graphs.
        latents: how the mask bank was drawn.
        detectors: fitted detectors by name.
        thresholds: threshold of each detector.
        detector: name of the default detector.
        class_names: segmentation classes by id.
        provenance: what it was trained and calibrated on, for people and reports; must be JSON.
        calibration: content of ``calibration.safetensors``; None = the bundle has none.

    Raises:
        ConfigError: ``latents`` and ``frame_pass`` differ in their mask mode.
    """
    if frame_pass.masks != latents.masks:
        raise ConfigError(
            f"masks are {latents.masks!r} in the settings, but the detectors were fitted with {frame_pass.masks!r} ones; "
            "use one mode for both."
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = frame_pass.stored()
    arrays = {
        f"{name}.{key}": np.ascontiguousarray(value)
        for name, fitted in detectors.items()
        for key, value in fitted.state().items()
    }
    files = {**stored.files, MONITOR: save_arrays({**arrays, **stored.arrays})}
    if calibration is not None:
        files[CALIBRATION] = calibration
    for name in FILES:
        (folder / name).unlink(missing_ok=True)  # an older bundle's
    content = {
        "package_version": __version__,
        "network": dict(stored.settings),
        "preprocess": asdict(frame_pass.preprocess_spec),
        "latents": asdict(latents),
        "class_names": list(class_names),
        "detector": detector,
        "thresholds": {name: threshold.to_dict() for name, threshold in thresholds.items()},
        "provenance": dict(provenance),
        "files": {},
    }
    return _write(folder, content, files)


def _write(folder: Path, content: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """Write files, and the manifest with their hashes; returns the bundle's identity."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    facts = {name: _file_facts(data) for name, data in files.items()}
    content = {**content, "format_version": FORMAT_VERSION, "files": {**content["files"], **facts}}
    content["checksum"] = manifest_checksum(content)
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest's other entries, hex. It detects thresholds that were edited by hand."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _file_facts(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def verify_bundle(folder: Path | str | None = None) -> Manifest:
    """Check a bundle's completeness, hashes and format without building the network.

    Raises:
        BundleError: a file is missing, truncated or altered, or the bundle's format is unknown; the message names the file.
    """
    manifest, _ = _read_verified(Path(folder) if folder else EMBEDDED_BUNDLE, FILES)
    return manifest


def read_calibration(folder: Path | str) -> bytes:
    """Verified content of the optional ``calibration.safetensors``. Raises ``BundleError``, also if the bundle has none."""
    _, contents = _read_verified(Path(folder), (CALIBRATION,))
    if CALIBRATION not in contents:
        raise BundleError(
            f"{folder} has no {CALIBRATION}, so no drive can be added to it; calibrate again from all drives, without "
            "--table none or --no-table."
        )
    return contents[CALIBRATION]


def _read_verified(folder: Path, wanted: tuple[str, ...]) -> tuple[Manifest, dict[str, bytes]]:
    """Read and verify the manifest and those wanted files that it names; names of format 1 are upgraded."""
    raw = _read(folder, MANIFEST)
    try:
        content = json.loads(raw)
        version, files = content["format_version"], content["files"]
        checksum = content.get("checksum")  # bundles of version 0.1.0 have none
        intact = checksum is None or checksum == manifest_checksum(content)
        needed = _NETWORK_FILES[content["network"].get("kind", "")]
        held = (*needed, MONITOR, *(name for name in _OPTIONAL_FILES if name in files))
        facts = {name: (int(files[name]["bytes"]), str(files[name]["sha256"])) for name in held}
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{folder / MANIFEST} is not a bundle manifest ({error!r}); make the bundle again."
        ) from error
    if version not in range(1, FORMAT_VERSION + 1):
        raise BundleError(
            f"{folder} has bundle format {version!r}, this version reads formats 1 to {FORMAT_VERSION}; update "
            "ls_ood_monitor if a newer version made the bundle, or calibrate again with this version."
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
    if version == 1:
        try:
            content = upgrade_manifest(content)
            contents |= {name: upgrade_arrays(contents[name]) for name in (MONITOR, CALIBRATION) if name in contents}
        except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise BundleError(f"{folder} is not a bundle of format 1 ({error!r}); make the bundle again.") from error
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

    Any engine but eager torch is compared with eager torch on two synthetic test pictures, and refused if the difference is too
    large.

    Args:
        folder: bundle folder; None or empty = the embedded bundle.
        device: auto, cpu, cuda or cuda:<index>.
        detector: use this detector instead of the bundle's default.
        engine: one of ``engines.ENGINES``; auto = ONNX Runtime on a CPU if it is installed and the bundle has graphs, else
            eager torch.
        precision: one of ``engines.PRECISIONS``.
        threads: CPU threads of ONNX Runtime; 0 = as many as torch uses (``torch.set_num_threads``).

    Raises:
        BundleError: see ``verify_bundle``; also weights or arrays that do not fit the settings, or an engine whose results
            differ too much from eager torch.
        ConfigError: a device or engine that is unknown or cannot run here, or a detector that the bundle lacks.
    """
    path = Path(folder) if folder else EMBEDDED_BUNDLE
    opened = open_bundle(path, device=device, engine=engine, precision=precision, threads=threads)
    content = opened.manifest.content
    if not content["thresholds"]:
        raise BundleError(
            f"{path} is not calibrated, so it cannot judge frames; run 'ls-ood calibrate CLEAN_DRIVES --bundle {path} "
            "--out CALIBRATED', and use that bundle."
        )
    try:
        thresholds = {name: Threshold.from_dict(values) for name, values in content["thresholds"].items()}
        detectors = {name: detector_spec(name).from_state(_with_prefix(opened.arrays, name)) for name in thresholds}
        default, provenance = str(content["detector"]), content["provenance"]
        calibration = provenance.get("calibration", {})
        alarm = from_mapping(AlarmSettings, upgrade_alarm(calibration.get("alarm", {})))
        cameras = tuple(calibration.get("cameras", {}))
    except _UNFIT as error:
        raise _unfit(path, error) from error
    monitor = OodMonitor(
        opened.frame_pass,
        detectors,
        thresholds,
        detector or default,
        opened.class_names,
        opened.manifest.bundle_id,
        alarm,
        cameras,
        provenance,
    )
    is_ours = isinstance(opened.frame_pass, DeepLabPass)
    if is_ours and (monitor.engine_name != "eager" or monitor.device.type != "cpu"):
        monitor.difference = accepted_difference(monitor)
    return monitor


@dataclass(frozen=True)
class OpenedBundle:
    """A verified bundle, which may be uncalibrated, with its network.

    Attributes:
        manifest: its manifest.
        frame_pass: computes the features of the bundle's detectors; where there are none, those of the default detectors
            that the network can give.
        class_names: segmentation classes by id.
        arrays: of the detectors, by ``<detector>.<array>``.
    """

    manifest: Manifest
    frame_pass: FramePass
    class_names: tuple[str, ...]
    arrays: Mapping[str, NDArray[Any]]


def open_bundle(
    folder: Path | str | None = None,
    *,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    threads: int = 0,
) -> OpenedBundle:
    """Verify a bundle and build its network. Arguments and errors as for ``load_bundle``; it may be uncalibrated."""
    path = Path(folder) if folder else EMBEDDED_BUNDLE
    manifest, files = _read_verified(path, tuple(name for name in FILES if name != CALIBRATION))
    content = manifest.content
    build = _adopted if adopted_pass.GRAPH in files else _deeplab
    arguments = _chosen_engine(path, files, device, engine, precision)
    try:
        arrays = load_arrays(files[MONITOR])
        frame_pass = build(content, files, arrays, threads=threads, **arguments)
        class_names = tuple(content["class_names"])
        if len(class_names) != frame_pass.classes:
            raise BundleError(f"{len(class_names)} class names for {frame_pass.classes} classes")
    except _UNFIT as error:
        if build is _adopted and isinstance(
            error, MonitorError
        ):  # it states what to do; calibrating again does not help
            raise BundleError(f"{path}: {error}") from error
        raise _unfit(path, error) from error
    return OpenedBundle(manifest, frame_pass, class_names, arrays)


#: What a bundle raises whose content does not fit this version.
_UNFIT = (KeyError, TypeError, ValueError, RuntimeError, SafetensorError, MonitorError)


def _unfit(path: Path, error: Exception) -> BundleError:
    return BundleError(f"{path} does not fit this version ({error}); calibrate again with this version.")


def _chosen_engine(path: Path, files: Mapping[str, bytes], device: str, engine: str, precision: str) -> dict[str, Any]:
    """Device, engine and precision that a bundle's network can run with. Raises ``ConfigError``."""
    if adopted_pass.GRAPH in files:
        if engine not in ("auto", "onnx"):
            raise ConfigError(f"engine is {engine!r}, but the network of {path} is an ONNX file; use auto or onnx.")
        target = choose_device(device if device != "auto" or onnx_engine.runs_on("cuda") else "cpu")
        check_engine("onnx", precision, target)
        return {"device": target}
    target = choose_device(device)
    check_engine(engine, precision, target)
    has_graphs = all(name in files for name in GRAPHS.values())
    chosen = choose_engine(engine, target, has_graphs)
    if chosen == "onnx" and not has_graphs:
        raise ConfigError(f"engine is onnx, but {path} holds no exported graphs; run 'ls-ood bundle export' on it.")
    return {"device": target, "engine": chosen, "precision": precision}


def _deeplab(
    content: Mapping[str, Any],
    files: Mapping[str, bytes],
    arrays: dict[str, NDArray[Any]],
    **arguments: Any,
) -> FramePass:
    network = DeepLabV3Plus(from_mapping(NetworkSettings, content["network"]))
    network.load_state_dict(load_tensors(files[NETWORK]))
    return DeepLabPass(
        network,
        from_mapping(PreprocessSpec, content["preprocess"]),
        torch.from_numpy(arrays.pop(MASK_BANK)),
        features=required_features(content["thresholds"]),
        masks=from_mapping(LatentSettings, content["latents"]).masks,
        graphs={graph: files[name] for graph, name in GRAPHS.items() if name in files},
        **arguments,
    )


def _adopted(
    content: Mapping[str, Any],
    files: Mapping[str, bytes],
    arrays: dict[str, NDArray[Any]],
    **arguments: Any,
) -> FramePass:
    return AdoptedPass(
        files[adopted_pass.GRAPH],
        files[adopted_pass.APPENDED_NODES],
        adopted_pass.settings_of(content["network"]),
        from_mapping(PreprocessSpec, content["preprocess"]),
        len(content["class_names"]),
        features=required_features(content["thresholds"]) if content["thresholds"] else None,
        **arguments,
    )


def difference_from_eager(monitor: OodMonitor) -> Difference:
    """Compare a monitor with eager torch in single precision, without CUDA graphs and with all scores on the host.

    Raises ``ConfigError`` for an adopted network, which torch does not run.
    """
    frame_pass = _ours(monitor)
    pictures = check_pictures(frame_pass.preprocess_spec)
    run = monitor.begin([Frame(picture, 1, "") for picture in pictures])
    scores = {name: np.array([verdict.scores[name] for verdict in run.verdicts]) for name in monitor.detectors}
    reference = TorchEngine(frame_pass.network, frame_pass.preprocess_spec, frame_pass.features, cuda_graphs=False)
    eager = reference.begin(pictures, frame_pass.averaging)
    decoded = eager.decoder_output()
    rows = {**eager.encoder_rows(), **decoded.rows}
    expected = {name: detector.score(rows[detector_spec(name).feature]) for name, detector in monitor.detectors.items()}
    thresholds = {name: monitor.thresholds[name].value for name in monitor.detectors}
    return measure_difference(scores, run.network.class_ids, expected, decoded.class_ids, thresholds)


def accepted_difference(monitor: OodMonitor) -> Difference:
    """``difference_from_eager``. Raises ``BundleError`` if it is too large for the engine's precision."""
    difference = difference_from_eager(monitor)
    if not is_accepted(difference, monitor.precision):
        raise BundleError(
            f"engine {monitor.engine_name} in {monitor.precision} differs from eager torch: {difference}; the limit of both "
            f"is {TOLERANCE[monitor.precision]:g}. Export the bundle again ('ls-ood bundle export'), or use engine eager "
            "and precision fp32."
        )
    return difference


def export_bundle(folder: Path | str) -> str:
    """Add the exported graphs to a bundle, and upgrade it to the present format.

    Returns:
        The bundle's new identity: the graphs are part of it (SHA-256 of the manifest).

    Raises:
        BundleError: see ``load_bundle``; also if the results of ONNX Runtime differ too much from torch.
        ConfigError: a package for exporting is missing, or the bundle has fresh masks or a feature that cannot be exported.
    """
    from .engines.export import export_graphs  # its packages are not installed on a vehicle

    path = Path(folder)
    if verify_bundle(path).content["network"].get("kind"):
        raise ConfigError(f"the network of {path} was adopted as an ONNX file; there is nothing to export.")
    monitor = load_bundle(path, device="cpu", engine="eager")
    own = _ours(monitor)
    if own.masks != "fixed":
        raise ConfigError("fresh masks cannot be exported; calibrate with --masks fixed.")
    graphs = dict(
        zip(GRAPHS, export_graphs(own.network, own.preprocess_spec, own.features, own.averaging), strict=True)
    )
    if onnx_engine.is_installed():  # else the first load compares them
        exported = DeepLabPass(
            own.network, own.preprocess_spec, own.mask_bank, "cpu", own.features, engine="onnx", graphs=graphs
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
    manifest, files = _read_verified(path, (MONITOR, CALIBRATION))
    return _write(path, manifest.content, {**files, **{name: graphs[graph] for graph, name in GRAPHS.items()}})


def _ours(monitor: OodMonitor) -> DeepLabPass:
    if not isinstance(monitor.frame_pass, DeepLabPass):
        raise ConfigError("the bundle's network was adopted as an ONNX file; there is nothing to export or to compare.")
    return monitor.frame_pass


def _with_prefix(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}
