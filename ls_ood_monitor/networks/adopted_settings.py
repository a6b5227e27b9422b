"""What the monitor must know about an adopted network: its input, its classes, and its taps."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import Checked, setting
from ..errors import ConfigError

LAYOUTS = ("NCHW", "NHWC", "tokens")


@dataclass(frozen=True)
class InputSettings(Checked):
    """The network's input. Its size and normalisation are the bundle's ``preprocess``."""

    name: str = setting("", "name of the input tensor")
    layout: str = setting("NCHW", "order of its axes", choices=LAYOUTS[:2])
    type: str = setting("float32", "type of its values; uint8 takes 0 to 255", choices=("float32", "float16", "uint8"))
    colour: str = setting("rgb", "order of its channels", choices=("rgb", "bgr"))
    batch: bool = setting(False, "whether it takes several pictures at once")


@dataclass(frozen=True)
class OutputSettings(Checked):
    """The tensors that give the segmentation.

    ``class_ids`` is a tensor of class ids, of any numeric type; empty = the largest score decides. ``scores`` is a tensor with
    a value of each class at each place, before or after a softmax; empty = no confidence, and no detector that reads logits.
    Scores of one channel, before or after a sigmoid, are those of class 1 of two classes. Both names are empty for a network
    without a segmentation, an object detector for example: then every pixel has class 0.
    """

    class_ids: str = setting(
        "", "tensor of class ids, (N, H, W), (N, 1, H, W), (N, H, W, 1) or (H, W); empty = by scores"
    )
    scores: str = setting("", "tensor of the classes' scores; empty = no confidence")
    scores_layout: str = setting("NCHW", "order of its axes", choices=LAYOUTS[:2])
    are_probabilities: bool = setting(False, "the scores come after a softmax or a sigmoid")

    @property
    def class_source(self) -> str:
        """Tensor that the classes are read from; empty without a segmentation."""
        return self.class_ids or self.scores


@dataclass(frozen=True)
class TapSettings(Checked):
    """A tensor inside the network whose channel means the detectors read.

    ``rows`` and ``columns`` are the size of its map. Tokens are one row of the map after another; those before the map's,
    such as a class token, are ``skipped``.
    """

    tensor: str = setting("", "name of the tensor")
    layout: str = setting("NCHW", "order of its axes; tokens = (N, places, channels)", choices=LAYOUTS)
    channels: int = setting(1, "channels", low=1, high=65536)
    rows: int = setting(1, "rows of its map", low=1, high=8192)
    columns: int = setting(1, "columns of its map", low=1, high=8192)
    skipped: int = setting(0, "tokens before those of the map", low=0, high=1024)

    @property
    def places(self) -> int:
        """Places of the map."""
        return self.rows * self.columns


@dataclass(frozen=True)
class LatentTap(TapSettings):
    """The tap that Monte-Carlo samples are drawn from; DropBlock's blocks are in cells of its map."""

    dropblock_size: int = setting(8, "side of the dropped blocks, cells of the map", low=1, high=256)
    dropblock_prob: float = setting(0.5, "DropBlock probability p", low=0.01, high=0.99)


@dataclass(frozen=True)
class AdoptedSettings:
    """Everything that is needed to run an adopted network, beside its file.

    Attributes:
        input: the network's input.
        output: its segmentation.
        taps: tensors for ``stage_means`` and ``cells``, fine ones first.
        latents: tensor for ``entropies`` and ``latent_means``; None = these features are not there.
    """

    input: InputSettings
    output: OutputSettings
    taps: tuple[TapSettings, ...]
    latents: LatentTap | None = None
    file: str = field(default="", compare=False)  # name of the file that was adopted, for people

    def __post_init__(self) -> None:
        if not self.taps:
            raise ConfigError("taps is empty; name at least one tensor inside the network.")
