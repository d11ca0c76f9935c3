"""Descriptors with any value in any place: problems or one line, never another error."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from camtrap_samples import descriptor, package

from bioclip_core.errors import SourceError
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.camtrap_dp.check import camtrap_dp_problems
from bioclip_plugin.formats.camtrap_dp.check_descriptor import descriptor_problems
from bioclip_plugin.formats.camtrap_dp.package import opened_package

VALUES: tuple[Any, ...] = (
    None, "", [], {}, True, -1, 1e308, float("nan"), 10**40, "\ud800", "a\0b", [None, 1, {"name": {}}], {"a": []}, [[]],
    "x" * 1000, "2024-13-45T99:99:99Z", [[{}]],
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in members:
        yield from places(part, (*at, key))


def changed() -> Iterator[dict[str, Any]]:
    good = descriptor()
    for at in places(good):
        for value in VALUES if at else ():
            made = copy.deepcopy(good)
            parent: Any = made
            for key in at[:-1]:
                parent = parent[key]
            parent[at[-1]] = value
            yield made


def test_a_check_of_a_descriptor_ends_whatever_is_in_it() -> None:
    count = 0
    for made in changed():
        assert all(isinstance(problem, Problem) for problem in descriptor_problems(made))
        count += 1
    assert count > 800


def test_a_package_with_such_a_descriptor_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    folder = package(tmp_path)
    for number, made in enumerate(changed()):
        if number % 13:
            continue
        (folder / "datapackage.json").write_text(json.dumps(made))
        said = ""
        try:
            with opened_package(str(folder)) as opened:
                for name in ("deployments", "media", "observations"):
                    list(opened.rows(opened.table(name)))
            list(camtrap_dp_problems(folder))
        except SourceError as error:
            said = str(error)
        assert "\n" not in said
