"""Options that a dataclass describes: their help, their allowed words and their limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from bioclip_core.errors import UsageError
from bioclip_core.options import allowed_words, check_options, is_required, option, options_of


@dataclass(frozen=True)
class Recipe:
    name: str = field(metadata=option("Name of the dish.", metavar="DISH"))
    heat: Literal["low", "high"] = field(default="low", metadata=option("Heat of the oven."))
    eggs: int | None = field(default=None, metadata=option("Number of eggs.", low=1, high=12))
    note: str = ""


def test_the_options_of_a_dataclass_are_its_fields_with_a_help() -> None:
    options = options_of(Recipe)
    assert [(name, item.metadata["help"], is_required(item)) for name, item in options.items()] == [
        ("name", "Name of the dish.", True), ("heat", "Heat of the oven.", False), ("eggs", "Number of eggs.", False),
    ]  # fmt: skip
    assert allowed_words(Recipe) == {"heat": ("low", "high")}


def test_values_are_checked_against_words_and_limits() -> None:
    check_options(Recipe("omelette", "high", 12))
    with pytest.raises(UsageError, match="heat 'hot': allowed are low, high"):
        check_options(Recipe("omelette", "hot"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="eggs 13: allowed is 1 to 12"):
        check_options(Recipe("omelette", eggs=13))
