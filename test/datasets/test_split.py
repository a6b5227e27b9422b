"""Splits by whole sequences."""

from __future__ import annotations

import json
import random

import pytest

from ls_ood_monitor.datasets.split import (
    PARTS,
    read_sequences,
    read_split,
    split_by_sequence,
    split_of,
    write_sequences,
    write_split,
)
from ls_ood_monitor.errors import ConfigError, DataError


def pictures(sizes: list[int]) -> dict[str, str]:
    """``sizes[i]`` pictures of sequence i."""
    return {f"s{number}/{index}.png": f"s{number}" for number, size in enumerate(sizes) for index in range(size)}


EVEN = pictures([10] * 50)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [[10] * 50, [1, 1, 1], [1, 2, 3, 4], [1, 1, 500], list(range(1, 40)), [300, 1, 1, 1]])
def test_whole_sequences_in_one_part_each(sizes, seed):
    """Parts are disjoint, hold every picture, are not empty and share no sequence."""
    sequences = pictures(sizes)
    split = split_by_sequence(sequences, seed=seed)
    names = [name for part in PARTS for name in split.parts[part]]
    assert sorted(names) == sorted(sequences)
    assert all(split.parts[part] for part in PARTS)
    homes = [{sequences[name] for name in split.parts[part]} for part in PARTS]
    assert sum(len(home) for home in homes) == len(sizes)
    assert split.sequences == sequences


def test_shares_are_met_where_sizes_allow():
    """Fifty equal sequences are split exactly into the requested shares."""
    split = split_by_sequence(EVEN, seed=3)
    assert [len(split.parts[part]) for part in PARTS] == [360, 90, 50]
    split = split_by_sequence(EVEN, (0.5, 0.3, 0.2), seed=3)
    assert [len(split.parts[part]) for part in PARTS] == [250, 150, 100]


def test_order_of_files_does_not_matter_but_the_seed_does():
    """The split depends on the seed and not on the order of the input."""
    shuffled = list(EVEN.items())
    random.Random(1).shuffle(shuffled)
    assert split_by_sequence(dict(shuffled), seed=7) == split_by_sequence(EVEN, seed=7)
    assert len({split_by_sequence(EVEN, seed=seed).parts["test"] for seed in range(10)}) == 10
    assert split_by_sequence(EVEN, seed=0).parts["test"][0] != split_by_sequence(EVEN, seed=1).parts["test"][0]


def test_too_few_sequences():
    """Fewer sequences than parts are refused."""
    with pytest.raises(DataError, match="20 pictures come from 2 sequences"):
        split_by_sequence(pictures([10, 10]))
    with pytest.raises(DataError, match="0 pictures"):
        split_by_sequence({})


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.9, 0.1, 0.0), (0.5, 0.3, 0.3), (float("nan"), 0.5, 0.5)])
def test_fractions_out_of_range(fractions):
    """Shares must be three positive numbers that add up to 1."""
    with pytest.raises(ConfigError, match="fractions are"):
        split_by_sequence(EVEN, fractions)


def test_a_seed_is_a_whole_number():
    """A seed is a whole number, 0 or larger."""
    with pytest.raises(ConfigError, match="seed is -1"):
        split_by_sequence(EVEN, seed=-1)


def test_a_split_comes_back_from_its_file(tmp_path):
    """Seed, fractions, parts and sequences; the same file names the sequences of a data set."""
    split = split_by_sequence(EVEN, (0.6, 0.3, 0.1), seed=11)
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == split
    assert read_sequences(tmp_path / "split.json") == EVEN
    content = json.loads((tmp_path / "split.json").read_text())
    assert content["seed"] == 11
    assert content["fractions"] == {"train": 0.6, "valid": 0.3, "test": 0.1}
    with pytest.raises(DataError, match="cannot write"):
        write_split(tmp_path / "nowhere" / "split.json", split)


def test_a_data_set_that_brings_its_split_keeps_it(tmp_path):
    """A stored split is used; without one, or with sequences alone, the split is drawn from the seed."""
    drawn = split_by_sequence(EVEN, seed=3)
    assert split_of(tmp_path, EVEN, seed=3) == drawn
    write_sequences(tmp_path / "split.json", EVEN)
    assert split_of(tmp_path, EVEN, seed=3) == drawn
    brought = split_by_sequence(EVEN, (0.5, 0.3, 0.2), seed=8)
    write_split(tmp_path / "split.json", brought)
    assert split_of(tmp_path, EVEN, seed=3) == brought


def test_files_that_are_no_split(tmp_path):
    """A missing file, text that is not JSON, and parts that contradict the sequences are refused."""
    path = tmp_path / "split.json"
    with pytest.raises(DataError, match="cannot read split"):
        read_split(path)
    for text, words in (("{", "not JSON"), ("[]", "holds a list"), ("{}", "no sequences")):
        path.write_text(text)
        with pytest.raises(DataError, match=words):
            read_split(path)
    write_sequences(path, EVEN)
    assert read_sequences(path) == EVEN
    with pytest.raises(DataError, match=r"is not a split: .*'seed'"):
        read_split(path)
    split = split_by_sequence(EVEN, seed=1)
    name = split.parts["train"][0]
    write_split(path, split)
    good = json.loads(path.read_text())
    for change, words in (
        (lambda parts: parts["test"].append(name), f"lists picture {name} twice"),
        (lambda parts: parts["test"].append("x.png"), r"lists picture x\.png without a sequence"),
        (lambda parts: (parts["train"].remove(name), parts["test"].append(name)), "in train and in test"),
    ):
        content = json.loads(json.dumps(good))
        change(content["parts"])
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=words):
            read_split(path)
