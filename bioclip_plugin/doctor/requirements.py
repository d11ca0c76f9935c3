"""Requirements of the installed distribution: names, extras and versions, without a package that could be broken."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires

DISTRIBUTION = "bioclip-plugin"
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?")
_BOUND = re.compile(r"(>=|<=|==|!=|~=|>|<)\s*([0-9][^,\s]*)")
_DEVELOPMENT = {"dev", "docs"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """A distribution that bioclip-plugin needs."""

    name: str
    bounds: tuple[tuple[str, str], ...]
    """Comparison and version."""
    extra: str = ""
    """Extra that installs it; empty for one that is always needed."""

    def is_met_by(self, version: str) -> bool:
        """Return True if a version is within the bounds; suffixes (``+cpu``, ``rc1``) do not count."""
        found = _numbers(version)
        return all(_holds(found, sign, _numbers(bound), "*" in bound) for sign, bound in self.bounds)

    def bounds_text(self) -> str:
        """Return the bounds as pip takes them."""
        return ",".join(f"{sign}{version}" for sign, version in self.bounds)


def requirements() -> list[Requirement] | None:
    """Return what the installed bioclip-plugin needs on this system; None if it is not installed as a distribution."""
    try:
        lines = requires(DISTRIBUTION)
    except (PackageNotFoundError, OSError, ValueError):
        return None
    return list(_read(lines or []))


def canonical(name: str) -> str:
    """Return a distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(lines: list[str]) -> Iterator[Requirement]:
    for line in lines:
        found = _REQUIREMENT.match(line)
        if found is None:
            continue
        marker = found[3] or ""
        extra = re.search(r"extra\s*==\s*[\"']([^\"']+)[\"']", marker)
        platform = re.search(r"sys_platform\s*==\s*[\"']([^\"']+)[\"']", marker)
        if (extra and extra[1] in _DEVELOPMENT) or (platform and platform[1] != sys.platform):
            continue
        if canonical(found[1]) != DISTRIBUTION:  # an extra of extras
            yield Requirement(found[1], tuple(_BOUND.findall(found[2])), extra[1] if extra else "")


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"v?(?:\d+!)?(\d+(?:\.\d+)*)", version.strip())
    return tuple(int(part) for part in leading[1].split(".")) if leading else ()


def _holds(found: tuple[int, ...], sign: str, bound: tuple[int, ...], any_end: bool) -> bool:
    if not found or not bound:
        return True  # not comparable by numbers
    length = max(len(found), len(bound))
    left, right = (numbers + (0,) * (length - len(numbers)) for numbers in (found, bound))
    is_equal = left[: len(bound)] == bound if any_end else left == right
    if sign == "~=":
        return left >= right and found[: len(bound) - 1] == bound[:-1]
    return {
        "==": is_equal,
        "!=": not is_equal,
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
    }[sign]
