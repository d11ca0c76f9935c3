"""The units that carry names, and the dirt of their statements."""

from __future__ import annotations

from collections import Counter

import numpy as np

from bioclip_training.biosphere.publishing.abilities import Abilities
from bioclip_training.biosphere.publishing.cell_dirt import CELLS, COMMON, HIDING
from bioclip_training.biosphere.publishing.dirt import Dirt, Kind
from bioclip_training.biosphere.publishing.letter_dirt import SPOILS
from bioclip_training.biosphere.publishing.name_dirt import CHANGES
from bioclip_training.biosphere.publishing.near_names import NearNames
from bioclip_training.biosphere.publishing.plan import Plan, Record, Unit
from bioclip_training.biosphere.publishing.statements import Statement, Writer, clean
from bioclip_training.biosphere.publishing.tree import Species

_BY_SPECIES = ("inat21", "lila")
_PAGE_IMAGES = 10
"""Images of one page of EOL at most, so that a page that is unrecoverable costs few of them."""


def add_units(plan: Plan, dirt: Dirt, rng: np.random.Generator) -> None:
    """Give every record of a named species a unit with its statement."""
    writer = Writer(plan.tree, NearNames(plan.tree), Abilities(plan.tree), dirt, rng)
    twice = {name for name, count in Counter(one.binomial for one in plan.tree.species).items() if count > 1}
    for layout in dirt.shares:
        units: dict[object, Unit] = {}
        seen: Counter[int] = Counter()
        last: Unit | None = None
        for record in plan.of(layout):
            if record.label < 0:
                continue
            key = _key(record, seen)
            if record.joined and last is not None:
                assert last.species == record.label, "a joined record shows the species of the one before it"
                record.unit = last
                continue
            if key not in units:
                species = plan.tree.species[record.label]
                unit = Unit(
                    layout, len(units), record.label, stated(writer, species, layout, species.binomial in twice)
                )
                units[key] = unit
                plan.units.append(unit)
            record.unit = last = units[key]


def _key(record: Record, seen: Counter[int]) -> object:
    if record.layout in _BY_SPECIES:
        return record.label
    if record.layout == "eol" and record.shares < 0 and record.state != "unlisted":
        seen[record.label] += 1
        return (record.label, (seen[record.label] - 1) // _PAGE_IMAGES)
    return ("row", record.number)


def stated(writer: Writer, species: Species, layout: str, is_twice: bool = False) -> Statement:
    """Return the statement of one unit, with at most one kind of dirt of each group.

    Args:
        writer: draws the dirt.
        species: the species that is meant.
        layout: the format.
        is_twice: True if the species of another kingdom has the same name.
    """
    said, dirt = clean(species), writer.dirt
    if species.is_hemihomonym:
        said.kinds.append("hemihomonym")
    cells = writer.drawn(dirt.of("cells", layout), lambda kind: writer.abilities.factor(kind.name, species))
    if cells is not None and cells.name in HIDING:
        _change(CELLS[cells.name](writer, species, said), said, cells)
        return said
    _name(writer, species, said, layout)
    if "several_names" not in said.kinds:
        _cells(writer, species, said, layout, cells, is_twice)
    _letters(writer, said, layout)
    common = writer.drawn(dirt.of("common", layout))
    if common is not None:
        _change(COMMON[common.name](writer, species, said), said, common)
    return said


def _change(changed: bool, said: Statement, kind: Kind) -> None:
    if changed:
        said.kinds.append(kind.name)


def _name(writer: Writer, species: Species, said: Statement, layout: str) -> None:
    kinds = writer.dirt.of("name", layout)
    if species.is_hybrid:
        kinds = tuple(kind for kind in kinds if kind.name == "hybrid_mark")  # its rate is a share of the hybrids
    else:
        kinds = tuple(kind for kind in kinds if kind.name in CHANGES and kind.name != "hybrid_mark")
    if species.is_unseen and species.synonyms and writer.rng.random() < 0.4:  # leaks of taxa hide behind synonyms
        kinds = tuple(kind for kind in kinds if kind.name == "synonym")
        if kinds:
            _change(CHANGES["synonym"](writer, species, said), said, kinds[0])
        return
    kind = writer.drawn(kinds, lambda kind: writer.abilities.factor(kind.name, species))
    if kind is not None:
        # Authors in brackets or not: the species decides, so both kinds stand for one draw.
        if kind.name == "authorship" and species.authorship.is_recombined:
            kind = writer.dirt.kinds["authorship_in_brackets"]
        elif kind.name == "authorship_in_brackets" and not species.authorship.is_recombined:
            kind = writer.dirt.kinds["authorship"]
        _change(CHANGES[kind.name](writer, species, said), said, kind)


def _cells(writer: Writer, species: Species, said: Statement, layout: str, kind: Kind | None, is_twice: bool) -> None:
    without = writer.dirt.kinds["hemihomonym_without_kingdom"]
    if species.is_hemihomonym and layout in without.formats and writer.rng.random() < without.rate:
        said.ranks[:5] = [""] * 5
        said.kinds.append(without.name if is_twice else "no_ranks")
        return
    if kind is not None:
        _change(CELLS[kind.name](writer, species, said), said, kind)


def _letters(writer: Writer, said: Statement, layout: str) -> None:
    kind = writer.drawn(writer.dirt.of("letters", layout))
    if kind is None or not said.name:
        return
    spoilt = SPOILS[kind.name](writer, said.name)
    if spoilt is None or spoilt == said.name:
        return
    said.kinds.append(kind.name)
    in_cell = said.binomial == said.name or writer.rng.random() < 0.5
    said.name = spoilt
    if in_cell and said.binomial and (cell := SPOILS[kind.name](writer, said.binomial)):
        said.binomial = cell
