"""The end of a message about a name that is not known."""

from __future__ import annotations

import pytest

from bioclip_core.listed_names import did_you_mean, listed


@pytest.mark.parametrize(
    ("given", "names", "said"),
    [
        ("megadetecter", ("speciesnet", "megadetector"), "; did you mean megadetector?"),
        ("SpeciesNet", ("speciesnet",), "; did you mean speciesnet?"),
        ("bat", ("speciesnet",), ""),
        ("", ("speciesnet",), ""),
        ("bat", (), ""),
    ],
)
def test_a_name_that_is_nearly_a_known_one_is_proposed(given: str, names: tuple[str, ...], said: str) -> None:
    assert did_you_mean(given, names) == said


def test_of_many_names_the_first_are_listed_and_the_others_counted() -> None:
    assert listed([f"n{n:02}" for n in range(12)]).endswith("n10, n11")
    assert listed([f"n{n:02}" for n in range(95)]) == f"{', '.join(f'n{n:02}' for n in range(12))} and 83 more"
    assert listed([]) == ""
