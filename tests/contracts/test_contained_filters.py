"""Content filters of plugins that fail or give something else: the plugin is named, and nothing else goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from bioclip_core.errors import PluginError, UsageError
from bioclip_plugin import create_plugin_manager, hookimpl
from bioclip_plugin.plugin_api import ContentFilter, FilterOptions, FilterRecord

RECORDS = [FilterRecord("a", "x.jpg", None, None, None)] * 2


class Broken:
    """A filter whose parts are replaced by a test."""

    name, description = "broken", "for tests"
    preprocessing: Any = None
    batch_size: Any = 10

    def __init__(self, **parts: Any) -> None:
        for name, part in parts.items():
            setattr(self, name, part)

    def identity(self, options: FilterOptions) -> Any:
        return {}

    def open(self, options: FilterOptions) -> Any:
        return self

    def score(self, records: Any) -> Any:
        return [0.5] * len(records)


def contained(**parts: Any) -> ContentFilter:
    class Filters:
        @hookimpl
        def register_content_filters(self, register: Callable[[ContentFilter], None]) -> None:
            register(Broken(**parts))

    manager = create_plugin_manager(installed=False)
    manager.register(Filters(), name="house")
    return manager.content_filters()["broken"]


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([0.5], "returned 1 scores for 2 records"),
        ("ab", "a list of numbers is needed"),
        (None, "a list of numbers is needed"),
        ([0.5, math.nan], "gave the score nan; a finite number or None is needed"),
        ([0.5, True], "gave the score True"),
        ([0.5, "0.5"], "gave the score '0.5'"),
    ],
)
def test_scores_are_checked(given: Any, said: str) -> None:
    opened = contained(score=lambda _records: given).open(FilterOptions())
    with pytest.raises(PluginError, match="plugin house: .*" + said.replace("(", r"\(")):
        opened.score(RECORDS)


def test_right_scores_become_plain_numbers() -> None:
    import numpy as np

    opened = contained(score=lambda _records: np.array([0.25, 1], dtype=np.float32)).open(FilterOptions())
    assert opened.score(RECORDS) == [0.25, 1.0]
    opened = contained(score=lambda _records: (None, 1)).open(FilterOptions())
    assert [type(score) for score in opened.score(RECORDS)] == [type(None), float]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"open": lambda _options: 3}, "opened as 3; an object with score is needed"),
        ({"preprocessing": "224"}, "a Preprocessing or None is needed"),
        ({"batch_size": 0}, "a whole number from 1"),
        ({"open": raising(RuntimeError("no weights"))}, "no weights"),
    ],
)
def test_what_opens_is_checked(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(PluginError, match=f"plugin house: .*{said}"):
        contained(**parts).open(FilterOptions())


def test_an_identity_is_plain_json_and_a_refusal_stays_one() -> None:
    with pytest.raises(PluginError, match="a dict of plain JSON is needed"):
        contained(identity=lambda _options: {"x": object()}).identity(FilterOptions())
    with pytest.raises(UsageError, match="give it a file"):
        contained(identity=raising(UsageError("give it a file"))).identity(FilterOptions())


def test_a_name_of_a_built_in_is_refused() -> None:
    with pytest.raises(PluginError, match="'people' is registered already, by a built-in"):
        contained(name="people")
