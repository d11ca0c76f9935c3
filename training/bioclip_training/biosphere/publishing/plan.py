"""What is going to be written: pictures, and records that show them; pure data, made from a seed before anything is drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bioclip_training.biosphere.publishing.statements import Statement
from bioclip_training.biosphere.publishing.tree import Tree

RARE, HOLDOUT = "rare-species", "holdout"
"""Evaluation sets: unseen species in the layout of Rare Species, and occurrences of seen ones as a Darwin Core archive."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file: drawn, or made of another one."""

    number: int
    species: int
    """-1: no organism."""
    style: str
    """``photo``, ``plate``, ``empty`` (a scene without an animal) or ``blank`` (a portal's answer)."""
    size: tuple[int, int]
    base: int = -1
    """Number of the picture that it is made of; -1: it is drawn."""
    change: str = ""
    """Kind of dirt that makes it of its base."""
    amount: float = 0.0
    suffix: str = ".jpg"
    turn: float = 20.0
    """Largest angle of a specimen on a plate, in degrees."""

    @property
    def path(self) -> str:
        """Its place in the folder of pictures."""
        return f"{self.number // 1000:03d}/{self.number:06d}{self.suffix}"


@dataclass(slots=True)
class Unit:
    """What carries a name in a format: a class of iNat21, a page of EOL, an occurrence of GBIF, a row of the others."""

    layout: str
    number: int
    species: int
    """The species that is named; -1 for an empty frame."""
    statement: Statement


@dataclass(slots=True)
class Leak:
    """One reason why a record must not be trained on."""

    evaluation_set: str
    kind: str
    """``image``, ``near``, ``observation`` or ``taxon``."""
    item: int
    """Number of the item in the evaluation set; -1 for a taxon."""


@dataclass(slots=True)
class Record:
    """One image of one source."""

    layout: str
    number: int
    """Place in its source."""
    species: int
    """The species in the picture; -1 for none."""
    label: int
    """The species that the source means; another one than ``species`` if it is wrong."""
    picture: int
    state: str = "whole"
    """``whole``, ``short``, ``empty``, ``html``, ``missing`` (a row without a file) or ``unlisted`` (a file without a row)."""
    kinds: list[str] = field(default_factory=list)
    """Kinds of dirt of image and row."""
    leaks: list[Leak] = field(default_factory=list)
    doubled: bool = False
    joined: bool = False
    """True if it belongs to the occurrence of the record before it."""
    shares: int = -1
    """Number of the evaluation item whose observation it belongs to; -1 for none."""
    unit: Unit | None = None
    uri: str = ""
    """Its file relative to the source's folder, with ``#MEMBER`` or ``#ROW``; set when the format is written."""
    identifier: str = ""
    """The source's own id of the image; set when the format is written."""
    sha256: str = ""
    """Of the bytes as they are written; empty without a file."""


@dataclass(slots=True)
class Item:
    """One image of an evaluation set."""

    evaluation_set: str
    number: int
    species: int
    picture: int
    identifier: str = ""


@dataclass(slots=True)
class Plan:
    """A whole rendering."""

    seed: int
    tree: Tree
    pictures: list[Picture] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)

    def of(self, layout: str) -> list[Record]:
        """Return the records of a format, in its order."""
        return [record for record in self.records if record.layout == layout]

    def units_of(self, layout: str) -> list[Unit]:
        return [unit for unit in self.units if unit.layout == layout]

    def items_of(self, evaluation_set: str) -> list[Item]:
        return [item for item in self.items if item.evaluation_set == evaluation_set]

    def original(self, record: Record) -> int:
        """Return the number of the picture that a record's picture was made of, or its own: the photo itself."""
        base = self.pictures[record.picture].base
        return record.picture if base < 0 else base

    def taken_at(self, photo: int) -> datetime:
        """Return when a photo was taken; its copies have the same time."""
        return datetime(2019, 1, 1) + timedelta(minutes=photo * 7919 % (3 * 365 * 24 * 60))

    def uuid(self, *parts: object) -> str:
        """Return an identifier that depends on the seed and the parts alone, in the form of a UUID."""
        text = hashlib.md5(repr((self.seed, *parts)).encode(), usedforsecurity=False).hexdigest()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
