"""The page about the theory: its blocks run in order, and print what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

PAGE = Path(__file__).parents[3] / "docs" / "theory.md"
_BLOCK = re.compile(r"<!-- theory -->\n```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
_NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")


def blocks(text: str) -> list[tuple[str, str]]:
    """Return code and expected output of each block."""
    return [(code, expected) for code, expected in _BLOCK.findall(text)]


def ran(code: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), names)
    return printed.getvalue()


def differences(printed: str, expected: str) -> list[str]:
    """Return lines that differ: in words, in whole numbers, or in a fraction by more than two of its last digits."""
    found = []
    for ours, page in zip(printed.splitlines(), expected.splitlines(), strict=True):
        pairs = list(zip(_NUMBER.findall(ours), _NUMBER.findall(page), strict=False))
        is_same = _NUMBER.sub("#", ours) == _NUMBER.sub("#", page) and all(
            abs(float(one) - float(other)) <= (0.0201 if "." in other else 0) for one, other in pairs
        )
        found += [] if is_same else [f"printed {ours!r}, the page has {page!r}"]
    return found


def test_the_blocks_of_the_page_print_what_the_page_says() -> None:
    found = blocks(PAGE.read_text("utf-8"))
    assert len(found) >= 6
    names: dict[str, Any] = {"__name__": "theory"}
    with threadpool_limits(1):  # threads of BLAS would wait for each other in thousands of small products
        for number, (code, expected) in enumerate(found, start=1):
            assert differences(ran(code, names), expected) == [], f"block {number}"


def test_a_number_that_is_off_is_found() -> None:
    assert differences("order 0.52 of 3\n", "order 0.53 of 3\n") == []
    assert differences("order 0.52 of 3\n", "order 0.62 of 3\n")
    assert differences("order 0.52 of 3\n", "order 0.52 of 4\n")
    assert differences("order 0.52\n", "rank 0.52\n")
    with pytest.raises(ValueError, match="zip"):
        differences("one\ntwo\n", "one\n")
