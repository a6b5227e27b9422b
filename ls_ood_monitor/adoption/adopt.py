"""A network's file and its settings -> an uncalibrated bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bundle import save_bundle
from ..core.detectors import DEFAULT_DETECTORS, detector_spec
from ..errors import BundleError, ConfigError
from ..frame_pass import LatentSettings
from ..networks.adopted_pass import AdoptedPass
from ..networks.adopted_settings import AdoptedSettings, LatentTap
from ..vision.mc_dropout import averaging_weights, draw_mask_bank
from .additions import additions
from .onnx_graph import OnnxGraph, TapCandidate, tap_candidates
from .proposal import Proposal, latent_tap, tap_settings


def adopt_graph(graph: OnnxGraph, proposal: Proposal, file: str) -> AdoptedPass:
    """Tap a network as the settings say, and compare its classes with those of the untouched file.

    Args:
        graph: of the network.
        proposal: settings.
        file: name of the file, for people.

    Raises:
        BundleError: the taps change the classes.
        ConfigError: a tensor that the graph does not have, or that cannot be tapped; or a number of class names that does not
            fit the scores.
    """
    source, spec = proposal.input, proposal.preprocess
    if source.name not in {tensor.name for tensor in graph.inputs}:
        names = ", ".join(tensor.name for tensor in graph.inputs)
        raise ConfigError(f"input.name is {source.name!r}; the network has {names}.")
    known = graph.at_size(source.name, spec.height, spec.width, source.layout)
    candidates = {own.tensor.name: own for own in tap_candidates(known, spec.height, spec.width)}
    _check_output(known, proposal)
    latent = latent_tap(_candidate(candidates, proposal.latents, "latents"), proposal) if proposal.latents else None
    settings = AdoptedSettings(
        source,
        proposal.output,
        tuple(tap_settings(_candidate(candidates, name, "taps")) for name in proposal.taps),
        latent,
        file,
    )
    averaging = None if latent is None else _averaging(latent, proposal)
    fragment = additions(known, settings, averaging)
    return AdoptedPass(graph.content, fragment, settings, spec, len(proposal.class_names))


def write_adopted_bundle(
    out: Path, frame_pass: AdoptedPass, proposal: Proposal, facts: Mapping[str, Any] | None = None
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


def _averaging(latent: LatentTap, proposal: Proposal) -> Any:
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
            f"{key} names {name!r}, which is no map of the picture in this network at this size; 'ls-ood adopt NETWORK' lists "
            "what can be tapped."
        )
    return candidates[name]


def _check_output(graph: OnnxGraph, proposal: Proposal) -> None:
    output = proposal.output
    declared = {own.name for own in graph.outputs}
    for key, name in (("class_ids", output.class_ids), ("scores", output.scores)):
        if name and name not in graph.tensors:
            raise ConfigError(f"output.{key} is {name!r}; the network's outputs are {', '.join(sorted(declared))}.")
    decisive = output.decisive
    if decisive and decisive not in declared:
        key = "class_ids" if output.class_ids else "scores"
        raise ConfigError(
            f"output.{key} is {decisive!r}, a tensor inside the network; the classes must come from one of its outputs, "
            f"{', '.join(sorted(declared))}."
        )
    if not output.scores:
        return
    shape = graph.tensors[output.scores].shape
    classes = shape[1] if output.scores_layout == "NCHW" else shape[-1]
    if len(shape) != 4 or (classes is not None and classes != len(proposal.class_names)):
        raise ConfigError(
            f"output.scores has the shape {shape} in {output.scores_layout}, but there are "
            f"{len(proposal.class_names)} class names; "
            "give a name for each class, and check scores_layout."
        )
    if classes is not None and classes > 256:
        raise BundleError(f"the network has {classes} classes; a segmentation picture holds 256.")
