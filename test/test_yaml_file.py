"""YAML files: their content, or an error that names the fault."""

from __future__ import annotations

import pytest

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.yaml_file import read_yaml


def test_content_is_that_of_yaml(tmp_path):
    """Plain values, lists and mappings are read; equal keys of different or merged mappings are allowed."""
    path = tmp_path / "a.yaml"
    path.write_text("usual: &usual {a: 1, b: [2, x]}\nother: {<<: *usual, a: 3}\n")
    assert read_yaml(path, ConfigError) == {"usual": {"a": 1, "b": [2, "x"]}, "other": {"a": 3, "b": [2, "x"]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "'a' is given twice in .*line 3"),
        ("cameras:\n  front: {x: 1}\n  front: {x: 2}\n", "'front' is given twice in .*line 3"),
        ("- {start_s: 7, start_s: 2}\n", "'start_s' is given twice"),
        ("a: [", "cannot be read as YAML"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_ambiguous_or_unsafe_yaml_is_refused(tmp_path, text, words):
    """A duplicate key, a syntax error or a code tag gives one line that names the file."""
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_yaml(path, ConfigError)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
