"""Both notebooks run in a Jupyter kernel, and are stored with small outputs that contain nothing of a machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 400_000
#: Runs in its own process: the client and the kernel bring event loops and warnings.
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=900).execute()
nbformat.write(notebook, sys.argv[2])
"""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def test_the_notebooks_are_the_expected_ones():
    """There are two notebooks, with the names of the reference."""
    assert [path.stem for path in NOTEBOOKS] == [
        "NB_1_ood_anomaly_semseg_deeplabv3p_ws_samples",
        "NB_2_ood_anomaly_semseg_deeplabv3p_ws_ds_shift_detect",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:4])
def test_a_notebook_runs(path, tmp_path):
    """No cell fails or writes to stderr, and every picture of the stored notebook is drawn again."""
    again = tmp_path / "executed.ipynb"
    path_entries = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path_entries)),
        "IPYTHONDIR": str(tmp_path),  # no settings of whoever runs this
    }
    log = tmp_path / "log.txt"
    with log.open("wb") as output:  # not a pipe: if the kernel died, the processes it started would keep it open
        done = subprocess.run(
            [sys.executable, "-c", EXECUTE, str(path), str(again)],
            cwd=tmp_path,  # not the repository: a notebook reads nothing beside itself
            env=environment,
            stdout=output,
            stderr=output,
            check=False,
        )
    assert done.returncode == 0, log.read_text(encoding="utf-8")[-3000:]
    fresh, stored = nbformat.read(again, as_version=4), nbformat.read(path, as_version=4)
    assert [output.text for output in outputs(fresh) if output.get("name") == "stderr"] == []
    drawn, kept = (
        [output for output in outputs(notebook) if output.output_type == "display_data"] for notebook in (fresh, stored)
    )
    assert len(drawn) == len(kept) > 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:4])
def test_a_stored_notebook_is_small_and_clean(path):
    """Executed once in order or not at all, valid, below 400 kB, without errors, times or paths of the machine it ran on."""
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    assert counts in (list(range(1, len(cells) + 1)), [None] * len(cells))
    assert len(text.encode()) < LARGEST
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert not [cell for cell in cells if "execution" in cell.metadata]
    readable = "\n".join(line for line in text.splitlines() if not re.search(r'"image/(png|jpeg)":', line))
    assert not re.findall(r"(?:/(?:home|root|tmp|work|usr|opt|Users|mnt)/|[A-Z]:\\\\)\S*", readable)
