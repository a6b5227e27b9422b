"""Read a file of weights without running code in it, and name what a file is that holds none."""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.serialization import safe_globals

from ..errors import DataError

_HEAD_BYTES = 1024
_ONNX = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]")  # version of the format and the next field's key


class _Unread:
    """Stands in for an object of a file that holds no weights; ignores its content, so that no code of its class runs."""

    def __init__(self, *_arguments: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


#: What training programs store beside the weights: scores as numpy scalars, the command line, paths.
_HARMLESS = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"pathlib.{name}" for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
)


def load_torch_file(path: Path, wanted: str) -> Any:
    """Content of a torch or safetensors file; ``wanted`` says in an error what the file should be.

    Objects of numpy, argparse and pathlib are replaced by placeholders; those of any other class are refused.
    Raises ``DataError``, which says what the file is instead and what to do.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if fault := _fault(path, head):
            raise DataError(f"{path} {fault}")
        if _is_safetensors(head):
            return load_file(path)
        with safe_globals([(_Unread, name) for name in _HARMLESS]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"there is no weight file {path}; give {wanted}.") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; give {wanted}.") from error
    except DataError:
        raise
    except (SafetensorError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is cut off or damaged ({error}); copy or download it again.") from error
    except Exception as error:  # torch raises pickle, runtime and key errors alike for a foreign file
        raise DataError(f"{path} {_torch_fault(path, str(error), wanted)}") from error


def _torch_fault(path: Path, message: str, wanted: str) -> str:
    """What ``message`` of torch means; its advice to run the code in the file is not passed on."""
    alone = "where the file was made, save the weights alone: torch.save(model.state_dict(), FILE)."
    if match := re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", message):
        return f"holds an object of {match[1]}, whose code is not run here; {alone}"
    if classes := _classes_of_pickle(path):
        return f"is a pickle that torch.save did not write, with objects of {', '.join(classes[:3])}; {alone}"
    if "EOF" in message or "corrupt" in message:
        return "is cut off or damaged; copy or download it again."
    reason = message.splitlines()[0] if message and "weights_only" not in message else "unknown content"
    return f"is not a plain torch state dict ({reason}); give {wanted}."


def _classes_of_pickle(path: Path) -> list[str]:
    """Names of the classes in a plain pickle, which is not run for it; none in another file."""
    names: list[str] = []
    texts: list[str] = []
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
                elif opcode.name == "GLOBAL":
                    names.append(str(argument).replace(" ", "."))
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # whatever the bytes are, they are no pickle
        return []
    return list(dict.fromkeys(names))


def _is_safetensors(head: bytes) -> bool:
    """Whether a file starts with the length of a JSON header and the header; no other kind has a brace there."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _fault(path: Path, head: bytes) -> str | None:
    """Why a file, known by its first bytes, holds no weights that can be read, and what to do; None = it may."""
    if not head:
        return "is empty; copy or download it again."
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights; run 'git lfs pull' in its repository."
    if re.match(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|\?xml)", head, re.IGNORECASE):
        return "is a web page, not weights; the server sent a notice or a login, so download the file in a browser."
    if _ONNX.match(head) and not _is_safetensors(head):
        return "is an ONNX model, whose weights have no names of layers; give the checkpoint that it was exported from."
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            return (
                "is a TorchScript program; save its weights: "
                "torch.save(torch.jit.load(FILE, map_location='cpu').state_dict(), 'weights.pth')."
            )
        if not any(name.endswith("/data.pkl") for name in names):
            return "is a zip archive of other files; unpack it and give the file of the weights."
    return None
