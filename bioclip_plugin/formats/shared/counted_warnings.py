"""Warnings of a check that concern many parts of a file: each is given once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bioclip_plugin.contracts.problem import Problem


def counted_warnings(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield errors as they come, and then each warning once, at its first place, with the number of its cases."""
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        if problem.severity != "warning":
            yield problem
            continue
        key = (problem.file, problem.message)
        counts[key] = counts.get(key, 0) + 1
        first.setdefault(key, problem)
    for key, problem in first.items():
        more = f": {counts[key]:,} times" if counts[key] > 1 else ""
        yield replace(problem, message=f"{problem.message}{more}")
