"""Edit distance between the spellings of two names."""

from __future__ import annotations

import pytest

from bioclip_training.taxonomy.spelling import AlikeWords, distance, equal_endings


@pytest.mark.parametrize(
    ("one", "other", "errors"),
    [
        ("alba", "alba", 0), ("alba", "alda", 1), ("alba", "abla", 1), ("alba", "albaa", 1), ("alba", "lba", 1),
        ("abcdef", "badcef", 2), ("abcd", "cdab", 3), ("ab", "ba", 1), ("fictus", "pictam", 3),
    ],
)  # fmt: skip
def test_the_distance_counts_letters_lost_added_changed_and_exchanged(one: str, other: str, errors: int) -> None:
    assert distance(one, other, 2) == errors
    assert distance(other, one, 2) == errors


def test_the_endings_of_a_gender_are_one_class() -> None:
    assert equal_endings("albus") == ["alba", "album"]
    assert "nigrum" in equal_endings("niger")
    assert equal_endings("makeri") == ["makerii"]


def test_no_word_within_two_errors_is_passed_over() -> None:
    words = ["fictomala", "fictomola", "fictomlaa", "fictonula", "fictorosa", "anthurium"]
    for word in (*words, "fictmala", "fictomalla", "Fictomalä"):
        near = [other for other in words if distance(word, other, 2) <= 2]
        assert set(near) <= set(AlikeWords(words).alike(word, 2))
    assert AlikeWords(words).alike("fictomala", 2) == ["fictomala", "fictomola", "fictomlaa", "fictonula"]
    assert AlikeWords([]).alike("fictomala", 2) == []
