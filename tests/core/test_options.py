"""Dataclasses of options: the help of their fields, and the values that they refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options, help_of


@dataclass(frozen=True, slots=True)
class Sample:
    share: float = field(default=0.5, metadata={"above": 0, "high": 1})
    """Share of ``things``,
    over two lines.

    Not a part of the help.
    """
    count: int | None = field(default=None, metadata={"low": 1})
    heat: Literal["low", "high"] = "low"
    word: str = field(default="a", metadata={"choices": ("a", "b")})
    """Word."""

    def __post_init__(self) -> None:
        check_options(self)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"share": 0}, "share 0: allowed are numbers above 0 and at most 1"),
        ({"share": float("nan")}, "share nan"),
        ({"share": 1.5}, "share 1.5"),
        ({"count": 0}, "count 0: allowed are whole numbers from 1"),
        ({"heat": "hot"}, "heat 'hot': allowed are low, high"),
        ({"word": "c"}, "word 'c': allowed are a, b"),
    ],
)
def test_a_value_that_a_field_does_not_allow_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Sample(**given)


def test_help_is_the_first_paragraph_below_a_field() -> None:
    assert help_of(Sample) == {"share": "Share of things, over two lines.", "word": "Word."}


def test_a_whole_number_that_no_database_has_is_refused() -> None:
    @dataclass(frozen=True)
    class Options:
        count: int = 1

    for value in (10**30, -(10**30), 10**5000):
        with pytest.raises(UsageError, match=r"count .*: use a whole number of at most 9,223,372,036,854,775,807"):
            check_options(Options(value))
