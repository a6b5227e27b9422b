"""Recordings: unique names for several of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.recordings.recording import distinct_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/data/monday", "/data/friday.bag"], ["monday", "friday.bag"]),
        (["/data/d1/bag", "/data/d2/bag", "/data/monday"], ["d1_bag", "d2_bag", "monday"]),
        (["/a/day/bag", "/b/day/bag", "/b/night/bag"], ["a_day_bag", "b_day_bag", "night_bag"]),
        (["/bag", "/d2/bag"], ["bag", "d2_bag"]),
        (["/data/d1/../d1/bag", "/data/d2/bag/"], ["d1_bag", "d2_bag"]),
    ],
)
def test_names_differ_by_as_many_folders_as_it_takes(paths, names):
    """A name is that of the file or folder, with parent folders as far as they are needed."""
    assert distinct_names([Path(path) for path in paths]) == names


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["/data/d1", "/data/d1/"], "is given twice"),
        (["/d1/bag", "/x/bag", "/d1_bag"], "/d1/bag and /d1_bag would write the same folder"),
    ],
)
def test_names_that_cannot_differ_are_refused(paths, message):
    """Two recordings that would share a folder of results are refused."""
    with pytest.raises(ConfigError, match=message):
        distinct_names([Path(path) for path in paths])
