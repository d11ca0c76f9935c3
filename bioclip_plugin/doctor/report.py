"""The report: facts and problems by check, as text to paste and as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bioclip_core.errors import one_line
from bioclip_core.nouns import number_of, size_of

REPORT_VERSION = 1
"""Version of the JSON form; a key never changes its meaning within a version."""

_PLAIN = re.compile(r"[a-z_]+")
_NAME = re.compile(r"[A-Za-z]\w{0,15}(?:[.\-_]\w{0,15}){0,9}")
_FEW, _LONG = 4, 30

State = Literal["done", "failed", "given up", "left out"]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a check found: plain JSON under a key that stays the same from version to version."""

    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, with what to do about it."""

    code: str
    """Stable name, such as ``store.locked``."""
    found: str
    meaning: str = ""
    advice: str = ""
    grave: bool = True
    """False for a note: worth knowing, while everything works."""

    def line(self) -> str:
        """Return the problem as one line: found, meaning, advice."""
        return one_line("; ".join(part for part in (self.found, self.meaning, self.advice) if part))


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a check that may crash or hang: announced before it begins, and named if it does not end."""

    what: str
    """The beginning of a sentence: "importing torch" (" ended with the signal SIGILL")."""
    key: str = ""
    """Name under which the check leaves this step out when it is begun again without it; empty: the check ends here."""
    is_long: bool = False
    """True for steps with a longer limit: imports from a slow disk, hashes of large files."""
    code: str = ""
    """Code of the problem if it does not end."""
    advice: str = ""
    """Advice if it does not end; empty for the usual one."""


Finding = Fact | Problem | Step


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one check."""

    name: str
    title: str
    state: State = "done"
    facts: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        """Yield the section of the text."""
        yield self.title if self.state == "done" else f"{self.title} ({self.state})"
        shown = [pair for key, value in self.facts.items() for pair in _shown(key, value)]
        width = min(max((len(label) for label, _ in shown), default=0), 24)
        for label, value in shown:
            yield f"  {label:<{width}}  {value}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain JSON, without its problems, which the report lists."""
        return {
            "name": self.name,
            "title": self.title,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the checks found, without secrets and user names."""

    version: str
    """Version of bioclip-plugin."""
    results: tuple[Result, ...]

    @property
    def problems(self) -> list[Problem]:
        """The problems of all checks, notes left out."""
        return [problem for result in self.results for problem in result.problems if problem.grave]

    @property
    def notes(self) -> list[Problem]:
        """The notes of all checks."""
        return [problem for result in self.results for problem in result.problems if not problem.grave]

    @property
    def is_healthy(self) -> bool:
        """True if there are no problems; notes do not count."""
        return not self.problems

    def text(self) -> str:
        """Return the report as plain text to paste."""
        lines = [f"bioclip-plugin {self.version}, doctor", ""]
        for result in self.results:
            lines += [*result.lines(), ""]
        lines += [f"Note ({note.code}): {note.line()}" for note in self.notes]
        lines += [f"Problem ({problem.code}): {problem.line()}" for problem in self.problems]
        counted = number_of(len(self.problems), "problem") if self.problems else "No problems"
        notes = f", {number_of(len(self.notes), 'note')}" if self.notes else ""
        return "\n".join([*lines, f"{counted} found{notes}."])

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return {
            "report_version": REPORT_VERSION,
            "version": self.version,
            "healthy": self.is_healthy,
            "problems": [
                {"check": result.name, "code": one.code, "grave": one.grave, "found": one.found, "meaning": one.meaning,
                 "advice": one.advice}
                for result in self.results for one in result.problems
            ],
            "checks": [result.as_json() for result in self.results],
        }  # fmt: skip

    def mapped(self, change: Callable[[str], str]) -> Report:
        """Return the report with every text of a fact or problem changed; codes, and keys that are plain names, stay."""

        def of(value: Any) -> Any:
            if isinstance(value, str):
                return change(value)
            if isinstance(value, Mapping):
                return {
                    str(key) if _NAME.fullmatch(str(key)) else change(str(key)): of(one) for key, one in value.items()
                }
            return [of(one) for one in value] if isinstance(value, (list, tuple)) else value

        def of_problem(one: Problem) -> Problem:
            return Problem(one.code, change(one.found), change(one.meaning), change(one.advice), one.grave)

        results = (
            replace(result, facts=of(result.facts), problems=tuple(map(of_problem, result.problems)))
            for result in self.results
        )
        return replace(self, results=tuple(results))


def _shown(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield a fact as label and text: a table of a few plain values on one line, a longer one or a list as one line per entry."""
    label = _label(key)
    if isinstance(value, Mapping) and value and len(value) <= _FEW and all(_PLAIN.fullmatch(name) for name in value):
        yield label, ", ".join(f"{_label(name)} {_text(name, one)}" for name, one in value.items())
    elif isinstance(value, Mapping):
        yield label, "" if value else "none"
        yield from ((f"  {name}", _text(name, one)) for name, one in value.items())
    elif isinstance(value, (list, tuple)) and any(isinstance(one, str) and len(one) > _LONG for one in value):
        yield from ((label if number == 0 else "", _text(key, one)) for number, one in enumerate(value))
    else:
        yield label, _text(key, value)


def _label(key: str) -> str:
    key = key.removesuffix("_bytes")
    return (key if key.endswith("per_s") else key.removesuffix("_s")).replace("_", " ")


def _text(key: str, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(one_line(str(one)) for one in value) or "none"
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int) and key.endswith("_bytes"):
        return size_of(value)
    if isinstance(value, float):
        return f"{value:.3g}" + (" s" if key.endswith("_s") and not key.endswith("per_s") else "")
    return one_line(str(value))
