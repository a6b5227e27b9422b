"""Mutated pictures, raw messages and video packets: each gives a picture or a sentence, and soon."""

from __future__ import annotations

from support.picture_fuzzing import LIMIT_S, fuzz_pictures


def test_mutated_pictures_give_a_picture_or_a_sentence():
    """No other error, no crash and no long wait; both answers occur, so the mutations reach the decoders."""
    outcome = fuzz_pictures(1000)
    assert not outcome.faults
    assert outcome.longest_s < LIMIT_S
    for kind in (".jpg", ".png", "raw"):
        assert outcome.pictures[kind] > 5
        assert outcome.sentences[kind] > 5
