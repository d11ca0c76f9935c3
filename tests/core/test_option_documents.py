"""Dataclasses of options filled from a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from bioclip_core.errors import UsageError
from bioclip_core.option_documents import filled_section
from bioclip_core.options import check_options


@dataclass(frozen=True)
class Inner:
    path: Path
    kind: Literal["a", "b"] = "a"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Outer:
    inner: Inner
    several: Mapping[str, Inner] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()
    memory: int = field(default=1, metadata={"size": True, "low": 1})
    share: float | None = None

    def __post_init__(self) -> None:
        check_options(self)


FILE = Path("folder/c.yaml")


def fill(**given: Any) -> Outer:
    return filled_section(Outer, {"inner": {"path": "x"}, **given}, file=FILE)


def test_sections_are_filled_and_paths_are_relative_to_the_document() -> None:
    filled = fill(
        several={"s": {"path": "/y", "kind": "b", "options": {"n": 1}}}, paths=["p", "/q"], memory="1.5 GB", share=1
    )
    assert filled == Outer(
        Inner(Path("folder/x")),
        {"s": Inner(Path("/y"), "b", {"n": 1})},
        (Path("folder/p"), Path("/q")),
        1_500_000_000,
        1,
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sevral": {}}, r"folder/c.yaml: sevral is not known; did you mean several\?; known here are inner, several"),
        ({"several": {"s": {"path": "y", "knd": "a"}}}, r"several.s.knd is not known; did you mean kind\?"),
        ({"several": {"s": {}}}, "several.s.path is missing"),
        ({"several": {"s": None}}, "several.s is empty: write names with values below it"),
        ({"several": ["s"]}, r"several is \['s'\]: write names with values"),
        ({"several": {"a/b": {"path": "y"}}}, "the name 'a/b' cannot be used"),
        ({"several": {"s": {"path": "y", "kind": "c"}}}, r"folder/c.yaml: several.s.kind 'c': allowed are a, b"),
        ({"several": {"s": {"path": 3}}}, "several.s.path 3: must be a path"),
        ({"paths": "p"}, "paths 'p': must be a list of paths"),
        ({"memory": "4 GiB"}, "memory '4 GiB': write a number of bytes, or a size such as 4 GB"),
        ({"memory": 0}, "folder/c.yaml: memory 0 bytes: allowed are sizes from 1 byte, with a unit, such as 4 GB"),
        ({"share": True}, "share True: must be a number"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_with_its_place(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        fill(**given)
