"""Take the weights out of a file, and copy them into a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from ..vision.backbones import require_backbone
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.foreign_weights import network_weights
from .weight_file import load_torch_file

_BACKBONE = "backbone."
#: Keys under which training programs store the weights in a checkpoint.
_WEIGHT_KEYS = ("model_state", "state_dict", "model_state_dict", "model", "net")
#: Setting -> the weights whose first axis has its size.
_SIZED = {
    "classes": ("decoder.1.weight", "decoder.1.weight_mu"),
    "aspp_channels": ("aspp.convs.0.0.weight",),
    "low_level_channels": ("low_level.0.weight",),
}
#: Setting -> a weight that only a network with it has, and its counterpart without it.
_SWITCHES = {
    "separable": ("aspp.convs.1.0.0.weight", "aspp.convs.1.0.weight"),
    "variational": ("decoder.1.weight_mu", "decoder.1.weight"),
}
#: Decoder, aspp_channels and separable -> how the command line makes it.
_DECODER_OPTIONS: dict[tuple[int | None, int | None], str] = {
    (256, False): "; leave out --compact",
    (128, True): "; give --compact",
}


def load_initial_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read torchvision's ImageNet weights of a backbone (.pth).

    Raises ``DataError`` if the file is missing or not a plain dictionary of tensors.
    """
    state = load_torch_file(path, "torchvision's ImageNet file of the backbone")
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path} holds a {type(state).__name__}, not a dictionary of tensors.")
    return state


def load_network_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a whole network from a checkpoint, of ``train_network`` or another program, or a state dict.

    Raises ``DataError`` if the file is missing or neither of the two.
    """
    state = _unwrapped(load_torch_file(path, "a checkpoint or a state dict of the network"))
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        held = (
            f"the keys {', '.join(map(str, list(state)[:6]))}"
            if isinstance(state, dict)
            else f"a {type(state).__name__}"
        )
        raise DataError(
            f"{path} holds no weights by name, neither at its top nor under {', '.join(_WEIGHT_KEYS)}, but {held}; "
            "give a checkpoint or a state dict of the network."
        )
    return state


def load_pretrained(network: DeepLabV3Plus, state: dict[str, torch.Tensor]) -> list[str]:
    """Copy the whole backbone and every other weight whose name and shape fit; other layers keep their fresh weights.

    Names may be our own or those of a program that ``vision.foreign_weights`` knows, with any prefix.
    Returns the names of the network's weights that were not in ``state`` or had another shape. Raises ``ConfigError``
    if ``state`` lacks all or part of the backbone, which would otherwise stay random unnoticed.
    """
    own = network.state_dict()
    given = network_weights(state)
    encoder = {key.removeprefix(_BACKBONE): value for key, value in given.items() if key.startswith(_BACKBONE)}
    require_backbone(network.backbone, encoder)
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def unused_layers(network: DeepLabV3Plus, state: dict[str, torch.Tensor]) -> list[str]:
    """Names, as far as they translate, of the weights in ``state`` that have no place in ``network``."""
    return sorted(set(network_weights(state)) - set(network.state_dict()))


def nearest_fit(network: DeepLabV3Plus, state: dict[str, torch.Tensor]) -> str | None:
    """A sentence with the settings that would fit more of ``state``, as far as its shapes tell; None if they agree."""
    own = network.settings
    found = _settings_of(network_weights(state))
    differing = {name: value for name, value in found.items() if value != getattr(own, name)}
    if not differing:
        return None
    sentence = "They would fit a network with " + ", ".join(
        f"{name} {value} (here {getattr(own, name)})" for name, value in differing.items()
    )
    decoder = (found.get("aspp_channels"), found.get("separable"))
    cure = _DECODER_OPTIONS.get(decoder, "") if differing.keys() & {"aspp_channels", "separable"} else ""
    return f"{sentence}{cure}."


def _settings_of(given: Mapping[str, torch.Tensor]) -> dict[str, int | bool]:
    sizes = {name: given[key].shape[0] for name, keys in _SIZED.items() for key in keys if key in given}
    switches = {name: keys[0] in given for name, keys in _SWITCHES.items() if any(key in given for key in keys)}
    return sizes | switches


def _unwrapped(content: Any) -> Any:
    """The innermost dictionary under the keys of weights; ``content`` itself if it has none of them."""
    while isinstance(content, dict):
        inner = next((content[key] for key in _WEIGHT_KEYS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    return content
