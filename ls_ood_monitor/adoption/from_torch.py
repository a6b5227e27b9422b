"""A torch module -> an uncalibrated bundle: exported as ONNX with the outputs of named modules as taps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..engines.export import exported_model, require_packages
from ..engines.onnx_engine import first_line
from ..engines.verification import check_pictures
from ..errors import ConfigError, MonitorError
from ..networks.adopted_engine import network_input
from ..networks.adopted_settings import InputSettings, OutputSettings
from ..vision.deeplabv3p import upsample
from ..vision.preprocess import IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec
from .adopt import adopt_graph, write_adopted_bundle
from .onnx_graph import graph_of
from .proposal import AdoptionSettings, class_names_of

INPUT, SCORES = "pixels", "scores"
#: Keys and attributes under which networks of torchvision and transformers give their scores.
_SCORE_KEYS = ("out", "logits")
#: Share of pixels whose class may differ between torch and the exported network: rounding at the border of two classes.
MAX_DIFFERENCE = 1e-3


def adopt(
    module: nn.Module,
    example_input: Tensor,
    taps: Sequence[str],
    out: Path | str,
    *,
    latents: str = "",
    class_names: Sequence[str] = (),
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    colour: str = "rgb",
    name: str = "",
) -> str:
    """Write an uncalibrated bundle of a segmentation network in torch. The vehicle gets an ONNX graph, never code.

    Args:
        module: takes normalised pictures (N, 3, H, W); gives scores (N, classes, h, w), or a mapping or object with them
            under ``out`` or ``logits``, or a tuple with them first. It stays as it is: a copy is exported, on the CPU, in float32
            and in eval mode.
        example_input: float32 (1, 3, H, W), of the size that the monitor will use.
        taps: names of modules, as in ``module.named_modules()``, fine ones first. Their outputs must be maps (N, C, h, w), or
            tokens (N, places, C).
        out: bundle folder to write.
        latents: name of the module to sample latents from; empty = no entropies.
        class_names: by id; none = those of Cityscapes for 19 classes, else class_0, class_1, ...
        mean: of the normalisation, (value / 255 - mean) / std, RGB.
        std: likewise.
        colour: order of the channels, ``rgb`` or ``bgr``.
        name: of the network, for people; empty = the module's class.

    Returns:
        The bundle's identity (SHA-256 of its manifest).

    Raises:
        ConfigError: an unknown module, one that the network does not call or whose output is no feature map, a network that
            torch cannot run or export, or whose exported classes differ from torch's.
    """
    if example_input.dim() != 4 or example_input.shape[:2] != (1, 3):
        raise ConfigError(
            f"example_input has the shape {tuple(example_input.shape)}; it must be (1, 3, height, width)."
        )
    network = deepcopy(module).to("cpu", torch.float32).eval()
    wanted = [*taps, *([latents] if latents and latents not in taps else [])]
    tapped = _Tapped(network, wanted)
    height, width = example_input.shape[2:]
    spec = PreprocessSpec(width, height, _three(mean, "mean"), _three(std, "std"))
    pictures = check_pictures(spec)
    source = InputSettings(INPUT, "NCHW", "float32", colour)
    try:
        with torch.no_grad():  # one by one: some networks take one picture only
            scores = torch.cat(
                [tapped(torch.from_numpy(network_input(picture[None], source, spec)))[0] for picture in pictures]
            )
    except MonitorError:
        raise
    except Exception as error:
        raise ConfigError(
            f"torch cannot run this network on a picture of {width}x{height} ({first_line(error)})."
        ) from error
    content, takes_several = _exported(
        tapped, example_input.to("cpu", torch.float32), (SCORES, *map(_tap_name, wanted))
    )
    proposal = AdoptionSettings(
        replace(source, batch=takes_several),
        spec,
        OutputSettings("", SCORES),
        tuple(class_names) or class_names_of(scores.shape[1]),
        tuple(map(_tap_name, taps)),
        _tap_name(latents) if latents else "",
    )
    frame_pass = adopt_graph(graph_of(content), proposal, name or type(module).__name__)
    expected = upsample(scores, (height, width)).argmax(dim=1).numpy()
    share = float(np.mean(expected != frame_pass.begin(list(pictures)).class_ids))
    if share > MAX_DIFFERENCE:
        raise ConfigError(
            f"the exported network gives other classes than torch in {share:.2g} of the pixels; report it to torch."
        )
    return write_adopted_bundle(Path(out), frame_pass, proposal)


class _Tapped(nn.Module):
    """A network that also returns the outputs of some of its modules."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        known = dict(network.named_modules())
        self._caught: dict[str, Tensor] = {}
        self._names = tuple(names)
        for name in names:
            if name not in known or not name:
                raise ConfigError(
                    f"there is no module {name!r}; the network has {', '.join(_outer(known))}, and modules in them."
                )
            known[name].register_forward_hook(self._catcher(name))

    def _catcher(self, name: str) -> Any:
        def catch(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self._caught[name] = _first_tensor(output)

        return catch

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        self._caught.clear()
        scores = _scores(self.network(pixels))
        for name in self._names:
            if name not in self._caught:
                raise ConfigError(f"the network does not call its module {name!r}; name another.")
        return scores, *(self._caught[name] for name in self._names)


def _exported(tapped: _Tapped, example: Tensor, outputs: tuple[str, ...]) -> tuple[bytes, bool]:
    """The network as ONNX, and whether it takes several pictures at once; some networks can be exported for one alone."""
    require_packages()
    two = example.expand(2, -1, -1, -1).contiguous()
    for inputs, per_picture in ((two, (INPUT,)), (example, ())):
        try:
            return exported_model(tapped, {INPUT: inputs}, per_picture, outputs), bool(per_picture)
        except Exception as error:  # torch.export has many kinds of errors
            reason = error
    raise ConfigError(
        f"torch cannot export this network ({first_line(_cause(reason))}); change the layer, or export it with tools of its "
        "library, and use 'ls-ood adopt FILE.onnx'."
    ) from reason


def _cause(error: BaseException) -> BaseException:
    """The first error of a chain: the exporter's own begins with a banner."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _scores(output: Any) -> Tensor:
    for key in _SCORE_KEYS:
        if isinstance(output, Mapping) and key in output:
            return _first_tensor(output[key])
        if hasattr(output, key):
            return _first_tensor(getattr(output, key))
    return _first_tensor(output)


def _first_tensor(output: Any) -> Tensor:
    if isinstance(output, (tuple, list)) and output:
        return _first_tensor(output[0])
    if not isinstance(output, Tensor):
        raise ConfigError(
            f"a module gives a {type(output).__name__}; a tensor is needed. Name a module inside it, or around it."
        )
    return output


def _outer(modules: Mapping[str, nn.Module]) -> list[str]:
    return [name for name in modules if name and "." not in name]


def _tap_name(module: str) -> str:
    return f"tap.{module}"


def _three(values: Sequence[float], name: str) -> tuple[float, float, float]:
    if len(values) != 3:
        raise ConfigError(f"{name} is {tuple(values)}; three numbers are needed, for red, green and blue.")
    red, green, blue = map(float, values)
    return red, green, blue
