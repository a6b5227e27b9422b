"""One picture judged on its own, for Python and notebooks: score, cause, anomaly map, classes, and a plot of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .core.causes import Cause, CauseKind
from .core.classes import class_colours
from .core.input_validation import FrameValidator
from .core.types import FrameResult
from .vision.overlay import draw_map
from .wording import clause

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Prediction:
    """A picture's result, and why it is or is not in distribution. A single picture has no alarm: that takes time.

    Attributes:
        result: everything that the monitor computed.
        cause: ``IN_DISTRIBUTION``, ``SUDDEN`` for a score above the threshold, or a fault of the picture.
    """

    result: FrameResult
    cause: Cause

    @property
    def is_ood(self) -> bool:
        """The score is above the threshold, or the picture cannot be judged (``cause.kind.is_fault``)."""
        return self.cause.kind is not CauseKind.IN_DISTRIBUTION

    @property
    def score(self) -> float:
        """Of the bundle's detector; larger = more OoD."""
        return self.result.score

    @property
    def threshold(self) -> float:
        """A score above it is OoD."""
        return self.result.threshold

    @property
    def anomaly_map(self) -> NDArray[np.float32] | None:
        """Score of each cell of a coarse grid (rows, columns), on the scale of ``score``; None if the detector has no map."""
        return self.result.anomaly_map

    @property
    def class_ids(self) -> NDArray[np.uint8]:
        """Segmentation (H, W); ``class_names`` names the ids."""
        return self.result.segmentation

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by id."""
        return self.result.class_names

    @property
    def reason(self) -> str:
        """The cause as a sentence."""
        return f"{'cannot be judged: ' if self.cause.kind.is_fault else ''}{clause(self.cause)}"

    def __repr__(self) -> str:
        return f"<Prediction: {self.reason}>"

    def plot(self) -> Figure:
        """Draw picture, classes and anomaly map side by side (matplotlib)."""
        from matplotlib.figure import Figure

        picture = self.result.frame.image[:, :, ::-1]
        classes = np.zeros((256, 3), np.uint8)
        colours = class_colours(self.class_names)
        classes[: len(colours)] = colours[:256]
        panels = {"picture": picture, "classes": classes[self.class_ids]}
        if (heat := draw_map(self.result)) is not None:
            panels["anomaly map"] = heat[:, :, ::-1]
        height, width = picture.shape[:2]
        figure = Figure((4.0 * len(panels), 4.0 * height / width + 0.8), layout="constrained")
        for axes, (title, panel) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
            axes.imshow(panel)
            axes.set_title(title)
            axes.set_axis_off()
        figure.suptitle(self.reason)
        return figure


def prediction_of(result: FrameResult) -> Prediction:
    """The prediction of a frame that was judged."""
    return Prediction(result, FrameValidator("").check(result.frame) or _cause_of_score(result))


def _cause_of_score(result: FrameResult) -> Cause:
    if not isfinite(result.score):
        return Cause(CauseKind.NOT_FINITE, value=result.score)
    kind = CauseKind.SUDDEN if result.score > result.threshold else CauseKind.IN_DISTRIBUTION
    return Cause(kind, value=result.score, limit=result.threshold)
