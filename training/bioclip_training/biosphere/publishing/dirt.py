"""The kinds of dirt with their rates, as ``dirt.toml`` fixes them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

GROUPS = ("name", "cells", "letters", "common", "taxon", "image", "row")
RECOVERED = ("itself", "cells", "taxonomy", "records", "nothing")
LEAVES = ("species", "genus", "family", "nothing")
_PAIRS = ("conflicting_labels",)
"""Kinds that spoil a second record: the one whose image was copied."""
_PARTIAL = {"hemihomonym_without_kingdom": "hemihomonym"}
"""Kinds whose rate is a share of the records of another kind."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of dirt; the fields are explained in ``dirt.toml``."""

    name: str
    group: str
    rate: float
    formats: tuple[str, ...]
    recovered: str
    leaves: str
    written: str
    true: str
    origin: str

    def __post_init__(self) -> None:
        for field, allowed in (("group", GROUPS), ("recovered", RECOVERED), ("leaves", LEAVES)):
            if getattr(self, field) not in allowed:
                raise ValueError(f"dirt.toml, {self.name}: {field} {getattr(self, field)!r} is none of {allowed}")
        if not 0 < self.rate < 1 or not self.formats:
            raise ValueError(f"dirt.toml, {self.name}: a rate between 0 and 1 and at least one format are needed")

    @property
    def is_recoverable(self) -> bool:
        return self.recovered != "nothing"


@dataclass(frozen=True, slots=True)
class Dirt:
    """All kinds of dirt, and the share of each format in the records."""

    shares: Mapping[str, float]
    kinds: Mapping[str, Kind]
    unrecoverable_at_most: float

    def of(self, group: str, layout: str) -> tuple[Kind, ...]:
        """Return the kinds of a group that a format has, in the order of the file."""
        return tuple(kind for kind in self.kinds.values() if kind.group == group and layout in kind.formats)

    def unrecoverable_share(self) -> float:
        """Return the expected share of records whose species cannot be recovered by design."""
        return sum(self._expected(kind) for kind in self.kinds.values() if not kind.is_recoverable)

    def _expected(self, kind: Kind) -> float:
        whole = self.kinds[_PARTIAL[kind.name]].rate if kind.name in _PARTIAL else 1.0
        share = sum(self.shares[layout] for layout in kind.formats)
        return kind.rate * whole * share * (2 if kind.name in _PAIRS else 1)


@cache
def load() -> Dirt:
    """Return the dirt of ``dirt.toml``.

    Raises:
        ValueError: if the file contradicts itself.
    """
    document = tomllib.loads((files(__package__) / "dirt.toml").read_text("utf-8"))
    kinds = {
        name: Kind(name, **{**fields, "formats": tuple(fields["formats"])})
        for name, fields in document["kinds"].items()
    }
    dirt = Dirt(document["shares"], kinds, document["unrecoverable_at_most"])
    if abs(sum(dirt.shares.values()) - 1) > 1e-9:
        raise ValueError("dirt.toml: the shares of the formats do not add up to 1")
    if dirt.unrecoverable_share() > dirt.unrecoverable_at_most:
        raise ValueError(f"dirt.toml: {dirt.unrecoverable_share():.2%} of the records would be unrecoverable")
    return dirt
