"""Questions about the regions of a run, each with the parameters of an address that shares it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Literal, get_args

from bioclip_core.errors import UsageError
from bioclip_plugin.items.verdicts import REVIEW_VERDICTS, VERDICTS

Sort = Literal["position", "name", "time", "probability", "best", "margin", "taxon", "camera", "reviewed_at", "random"]
Named = Literal["now", "decision", "review"]
YesNo = Literal["any", "yes", "no"]
Failed = Literal["any", "no", "only"]

SORTS: tuple[Sort, ...] = get_args(Sort)
"""Orders of rows; equal rows are in the order of the listing, and rows without a value come last in both directions."""
UNDECIDED = "undecided"
"""Word for answered regions that the rules have not decided on yet, beside the verdicts."""
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "sort": SORTS, "named": get_args(Named), "reviewed": get_args(YesNo), "failures": get_args(Failed),
    "verdicts": (*VERDICTS, UNDECIDED), "review_verdicts": REVIEW_VERDICTS,
}  # fmt: skip
"""The words that a parameter may have."""
_SEVERAL = ("cameras", "verdicts", "review_verdicts", "flags")
_MOST_VALUES, _LONGEST = 1_000, 4_000
_WHOLE = re.compile(r"\d{1,15}", re.ASCII)
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class ViewQuery:
    """Which rows of a run are wanted, all conditions at once, and their order.

    Raises:
        UsageError: for a value that a field does not have, with those that it has.
    """

    taxon: str = ""
    """Key of a taxon (:attr:`TaxonNode.key`): it and all below it; empty: all."""
    named: Named = "now"
    """By which name: ``now`` is that of the review in force, else the decided one; or one of the two alone."""
    cameras: tuple[str, ...] = ()
    """Names of deployments, any of them; an empty name means images without one."""
    from_day: date | None = None
    to_day: date | None = None
    """Inclusive. Images without a time are in no range."""
    hours: tuple[int, int] | None = None
    """First and last hour of the day, inclusive; (22, 4) goes over midnight."""
    least: float | None = None
    most: float | None = None
    """Range of the probability of the decided taxon, inclusive."""
    verdicts: tuple[str, ...] = ()
    """Verdicts of the rules, any of them, or ``undecided``."""
    review_verdicts: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    """All of them."""
    reviewed: YesNo = "any"
    reviewer: str = ""
    failures: Failed = "any"
    event: str = ""
    sort: Sort = "position"
    descending: bool = False
    seed: int = 0
    """Of the order ``random``."""

    def __post_init__(self) -> None:
        for name, allowed in ALLOWED.items():
            for value in _each(getattr(self, name)):
                if value not in allowed:
                    raise UsageError(f"{name} {str(value)[:_SHOWN]!r} is not known; allowed are {', '.join(allowed)}")
        for name in _SEVERAL:
            if len(getattr(self, name)) > _MOST_VALUES:
                raise UsageError(
                    f"{name} has {len(getattr(self, name)):,} values; at most {_MOST_VALUES:,} can be asked for"
                )
        if self.hours is not None and not all(0 <= hour <= 23 for hour in self.hours):
            raise UsageError(
                f"hours {self.hours[0]}-{self.hours[1]} are not hours of a day; give two of 0 to 23, such as 22-4"
            )
        for name in ("least", "most"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"{name} {value} is not a probability; give a number from 0 to 1")
        if not 0 <= self.seed < 10**15:
            raise UsageError(f"seed {self.seed} is not known; give a whole number of up to 15 digits")

    @property
    def key(self) -> str:
        """Hash of the question and its order, by which a cursor belongs to it."""
        return hashlib.sha256(json.dumps(self.to_params()).encode()).hexdigest()[:16]

    def to_params(self) -> list[tuple[str, str]]:
        """Return the parameters of an address, without those that have their defaults."""
        found: list[tuple[str, str]] = []
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value != entry.default:
                found += [(entry.name, text) for text in _texts_of(value)]
        return found

    @classmethod
    def from_params(cls, params: Iterable[tuple[str, str]]) -> ViewQuery:
        """Return the query of an address's parameters; empty values count as absent, except those of ``cameras``.

        Raises:
            UsageError: for an unknown or a repeated parameter, and for a value that it does not have.
        """
        given: dict[str, list[str]] = {}
        known = [entry.name for entry in fields(cls)]
        for name, text in params:
            if name not in known:
                raise UsageError(
                    f"parameter {name[:_SHOWN]!r} is not known; the parameters of a view are {', '.join(known)}"
                )
            if len(text) > _LONGEST:
                raise UsageError(f"{name} has a value of {len(text):,} characters; at most {_LONGEST:,} are possible")
            if text or name == "cameras":
                given.setdefault(name, []).append(text)
        for name, texts in given.items():
            if len(texts) > 1 and name not in _SEVERAL:
                raise UsageError(f"{name} is given {len(texts)} times; give it once")
        return cls(**{name: _value_of(name, texts) for name, texts in given.items()})


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)


def _texts_of(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["yes"]
    if isinstance(value, tuple):
        return [f"{value[0]}-{value[1]}"] if isinstance(value[0], int) else [str(one) for one in value]
    return [value.isoformat() if isinstance(value, date) else str(value)]


def _value_of(name: str, texts: list[str]) -> Any:
    text = texts[0]
    if name in _SEVERAL:
        return tuple(dict.fromkeys(texts))
    if name in ("from_day", "to_day"):
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise UsageError(f"{name} {text[:_SHOWN]!r} is not a day; give one such as 2026-05-31") from None
    if name in ("least", "most"):
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"{name} {text[:_SHOWN]!r} is not a probability; give a number from 0 to 1") from None
    if name == "hours":
        if (match := re.fullmatch(r"(\d{1,2})-(\d{1,2})", text, re.ASCII)) is None:
            raise UsageError(f"hours {text[:_SHOWN]!r} are not known; give the first and the last one, such as 22-4")
        return int(match[1]), int(match[2])
    if name == "descending":
        if text not in ("yes", "no"):
            raise UsageError(f"descending {text[:_SHOWN]!r} is not known; allowed are yes, no")
        return text == "yes"
    if name == "seed":
        if _WHOLE.fullmatch(text) is None:
            raise UsageError(f"seed {text[:_SHOWN]!r} is not known; give a whole number of up to 15 digits")
        return int(text)
    return text
