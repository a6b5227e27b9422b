"""Read weights from files, without running code in them, and copy them into a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from ..vision.backbones import require_backbone
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.foreign_weights import network_weights

_BACKBONE = "backbone."


def load_initial_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read torchvision's ImageNet weights of a backbone (.pth).

    Raises ``DataError`` if the file is missing or not a plain dictionary of tensors.
    """
    state = load_torch_file(path, "torchvision's ImageNet file of the backbone")
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path} holds a {type(state).__name__}, not a dictionary of tensors.")
    return state


def load_network_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a whole network from a checkpoint of ``train_network`` or a plain state dict.

    Raises ``DataError`` if the file is missing or neither of the two.
    """
    content = load_torch_file(path, "a checkpoint or a state dict of the network")
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path} holds no weights by name; give a checkpoint or a state dict of the network.")
    return state


def load_pretrained(network: DeepLabV3Plus, state: dict[str, torch.Tensor]) -> list[str]:
    """Copy the whole backbone and every other weight whose name and shape fit; other layers keep their fresh weights.

    Names may be our own, those of torchvision's DeepLabv3 (backbone and ASPP fit) or of the reference's DeepLabv3+.
    Returns the names of the network's weights that were not in ``state`` or had another shape. Raises ``ConfigError``
    if ``state`` lacks all or part of the backbone, which would otherwise stay random unnoticed.
    """
    own = network.state_dict()
    given = network_weights({key.removeprefix("network."): value for key, value in state.items()})
    encoder = {key.removeprefix(_BACKBONE): value for key, value in given.items() if key.startswith(_BACKBONE)}
    require_backbone(network.backbone, encoder)
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


def load_torch_file(path: Path, wanted: str) -> Any:
    """Content of a torch file; ``wanted`` says in an error what the file should be. Raises ``DataError``."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"there is no weight file {path}; give {wanted}.") from error
    except Exception as error:  # torch raises pickle, runtime and key errors alike for a foreign file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is not a plain torch state dict ({reason}); give {wanted}.") from error
