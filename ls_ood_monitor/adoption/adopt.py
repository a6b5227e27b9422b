"""A network's file and its settings -> an uncalibrated bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bundle import save_bundle
from ..core.detectors import DEFAULT_DETECTORS, detector_spec
from ..errors import ConfigError
from ..frame_pass import LatentSettings
from ..networks.adopted_pass import AdoptedPass
from ..networks.adopted_settings import AdoptedSettings, LatentTap
from ..vision.mc_dropout import averaging_weights, draw_mask_bank
from .appended_nodes import appended_nodes
from .onnx_graph import OnnxGraph, TapCandidate, require_input, tap_candidates
from .proposal import AdoptionSettings, latent_tap, tap_settings

#: A segmentation picture has 8 bits.
MAX_CLASSES = 256
#: Channels of all taps together, and of the latents: detectors hold a square matrix, 134 MB of float64.
MAX_CHANNELS = 4096
#: Values of the masks of the latents, 134 MB of float32 in the bundle.
MAX_MASK_VALUES = 2**25


def adopt_graph(graph: OnnxGraph, proposal: AdoptionSettings, file: str) -> AdoptedPass:
    """Tap a network as the settings say, and compare its classes with those of the untouched file.

    Args:
        graph: of the network.
        proposal: settings.
        file: name of the file, for people.

    Raises:
        BundleError: the taps change an output.
        ConfigError: an input that the file does not have; a tensor that it does not have, or that cannot be tapped, or is too
            large; an output that is no class map; or another number of class names than classes.
        MonitorError: ONNX Runtime cannot run the network.
    """
    source, spec = proposal.input, proposal.preprocess
    require_input(graph, source, spec.height, spec.width)
    if len(proposal.class_names) > MAX_CLASSES:
        raise ConfigError(
            f"there are {len(proposal.class_names)} class names; a segmentation picture holds {MAX_CLASSES} classes."
        )
    known = graph.at_size(source.name, spec.height, spec.width, source.layout)
    found = tap_candidates(known, spec.height, spec.width, proposal.token_grid)
    candidates = {candidate.tensor.name: candidate for candidate in found}
    _check_output(known, proposal)
    latent = latent_tap(_candidate(candidates, proposal.latents, "latents"), proposal) if proposal.latents else None
    settings = AdoptedSettings(
        source,
        proposal.output,
        tuple(tap_settings(_candidate(candidates, name, "taps")) for name in proposal.taps),
        latent,
        file,
    )
    _check_tap_sizes(settings, proposal.mc_samples)
    averaging = None if latent is None else _averaging(latent, proposal)
    fragment = appended_nodes(known, settings, averaging)
    return AdoptedPass(graph.content, fragment, settings, spec, len(proposal.class_names))


def write_adopted_bundle(
    out: Path, frame_pass: AdoptedPass, proposal: AdoptionSettings, facts: Mapping[str, Any] | None = None
) -> str:
    """Write an uncalibrated bundle. Returns its identity (SHA-256 of the manifest)."""
    names = default_detectors(frame_pass)
    digest = hashlib.sha256(frame_pass.stored().files["network.onnx"]).hexdigest()
    return save_bundle(
        out,
        frame_pass,
        LatentSettings(mc_samples=proposal.mc_samples),
        {},
        {},
        names[0],
        proposal.class_names,
        {
            "adopted": {
                "file": frame_pass.settings.file,
                "sha256": digest,
                "detectors": list(names),
                **(facts or {}),
            }
        },
    )


def default_detectors(frame_pass: AdoptedPass) -> tuple[str, ...]:
    """The default detectors whose features the network gives."""
    return tuple(name for name in DEFAULT_DETECTORS if detector_spec(name).feature in frame_pass.available)


def _averaging(latent: LatentTap, proposal: AdoptionSettings) -> Any:
    bank = draw_mask_bank(
        proposal.mc_samples,
        latent.rows,
        latent.columns,
        block_size=latent.dropblock_size,
        drop_prob=latent.dropblock_prob,
        seed=LatentSettings().mask_seed,
    )
    return averaging_weights(bank).numpy()


def _candidate(candidates: Mapping[str, TapCandidate], name: str, key: str) -> TapCandidate:
    if name not in candidates:
        raise ConfigError(
            f"{key} names {name!r}, which is not a feature map of the input picture; 'ls-ood adopt NETWORK --all' lists the "
            "tensors that can be tapped. If it holds tokens, give token_grid."
        )
    return candidates[name]


def _check_tap_sizes(settings: AdoptedSettings, mc_samples: int) -> None:
    """Raise ``ConfigError`` for taps that would take too much memory, here or in calibration."""
    channels = sum(tap.channels for tap in settings.taps)
    if channels > MAX_CHANNELS:
        raise ConfigError(
            f"the taps have {channels} channels together; at most {MAX_CHANNELS} are allowed, because calibration computes a "
            "square matrix of them. Name fewer taps, or taps of earlier stages."
        )
    latent = settings.latents
    if latent is None:
        return
    if latent.channels > MAX_CHANNELS:
        raise ConfigError(
            f"latents has {latent.channels} channels; at most {MAX_CHANNELS} are allowed. Name another tensor, or null."
        )
    if latent.places * mc_samples > MAX_MASK_VALUES:
        raise ConfigError(
            f"latents has a map of {latent.rows} x {latent.columns} places, which is too large for {mc_samples} masks: at most "
            f"{MAX_MASK_VALUES // mc_samples} places are allowed. Name a tensor of a larger stride."
        )


def _check_output(graph: OnnxGraph, proposal: AdoptionSettings) -> None:
    output = proposal.output
    declared = {tensor.name for tensor in graph.outputs}
    for key, name in (("class_ids", output.class_ids), ("scores", output.scores)):
        if name and name not in graph.tensors:
            raise ConfigError(
                f"output.{key} is {name!r}, which does not depend on the picture or is no tensor of the network; its outputs are "
                f"{', '.join(sorted(declared))}."
            )
    if output.class_source and output.class_source not in declared:
        key = "class_ids" if output.class_ids else "scores"
        raise ConfigError(
            f"output.{key} is {output.class_source!r}, a tensor inside the network; the classes must come from one of its "
            f"outputs, {', '.join(sorted(declared))}."
        )
