"""Values of options that several commands have: lists, severities, output folders."""

from __future__ import annotations

from pathlib import Path

from ..disk_space import check_output_folder
from ..errors import ConfigError, DataError


def parse_list(option: str) -> list[str]:
    """The different parts of a list separated by commas, in their order."""
    return list(dict.fromkeys(part.strip() for part in option.split(",") if part.strip()))


def parse_severities(option: str) -> list[int]:
    """Severities such as ``1,3,5``, in their order. Raises ``ConfigError`` for any but 1 to 5, and for none."""
    parts = parse_list(option)
    wrong = [part for part in parts if part not in ("1", "2", "3", "4", "5")]
    if wrong or not parts:
        raise ConfigError(f"--severities has {', '.join(wrong) or 'no number'}; known: 1, 2, 3, 4, 5.")
    return [int(part) for part in parts]


def make_folder(out: Path) -> None:
    """Make the folder of ``--out``. Raises ``DataError`` where that is impossible, or the disk is full."""
    check_output_folder("--out", out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out is {out}, which cannot be a folder: {error.strerror}.") from error
