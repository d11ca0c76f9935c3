"""Suspected misspellings: names within two letters of a much better known one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_training.catalog.naming.likeness import Spellings


def spellings(*names: tuple[str, int, str]) -> Spellings:
    made = Spellings()
    for name, rows, source in names:
        for _ in range(rows):
            made.add(name, source)
    return made


@pytest.mark.parametrize(
    "slip",
    [
        "Vulpes vulpse",
        "Vulpes vulpe",
        "Vulpes vulppes",
        "Vulpes vulpas",
        "Vulpse vulpes",
        "Vuples vulpes",
        "Vulpes vulpess",
    ],
)
def test_one_row_beside_forty_of_nearly_the_same_name_is_a_slip(slip: str) -> None:
    assert spellings(("Vulpes vulpes", 40, "a"), (slip, 1, "a")).suspects() == {slip: "Vulpes vulpes"}


def test_names_of_like_frequency_or_of_two_sources_or_of_the_taxonomy_are_no_slips() -> None:
    assert not spellings(("Ficus disticha", 6, "a"), ("Fucus distichus", 5, "a")).suspects()
    assert not spellings(("Bos taurus", 40, "a"), ("Bos gaurus", 1, "a"), ("Bos gaurus", 1, "b")).suspects()
    assert not spellings(("Bos taurus", 40, "a"), ("Bos gaurus", 1, "a")).suspects({"Bos gaurus"}.__contains__)
    assert not spellings(("Parus major", 40, "a"), ("Parus minor", 1, "a")).suspects()  # two letters of five


def test_another_source_needs_fewer_rows_than_the_same_one() -> None:
    assert not spellings(("Vulpes vulpes", 2, "a"), ("Vulpes vulpse", 1, "a")).suspects()
    assert spellings(("Vulpes vulpes", 2, "b"), ("Vulpes vulpse", 1, "a")).suspects() == {
        "Vulpes vulpse": "Vulpes vulpes"
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 8), st.sampled_from("abcdeiorst"), st.integers(1, 60))
def test_a_slip_is_found_in_small_and_large_genera(place: int, letter: str, others: int) -> None:
    name = "Fictus inventatus"
    slip = f"Fictus {'inventatus'[:place]}{letter}{'inventatus'[place:]}"
    many = [(f"Fictus quo{chr(97 + at % 26)}{chr(97 + at // 26)}lensis", 4, "a") for at in range(others)]
    assert spellings((name, 8, "a"), (slip, 1, "a"), *many).suspects().get(slip) == name


def test_near_names_that_are_kept_are_found_by_one_letter_among_many_names() -> None:
    few = [("Bos taurus", 5, "a"), ("Bos gaurus", 4, "a"), ("Fictus inventatus", 5, "a"), ("Fictus invemtutus", 4, "a")]
    many = [(f"Fictus quo{chr(97 + at % 26) * 3}{chr(97 + at // 26) * 3}lensis", 4, "a") for at in range(600)]
    pair, further = ("Bos gaurus", "Bos taurus"), ("Fictus invemtutus", "Fictus inventatus")
    assert list(spellings(*few).near_pairs()) == [pair, further]
    assert list(spellings(*few, *many).near_pairs()) == [pair]
    assert (spellings(*few).letters_compared, spellings(*few, *many).letters_compared) == (2, 1)
