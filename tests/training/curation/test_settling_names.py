"""One lineage per taxon and corrected spellings, whatever the order of the names: properties of small invented worlds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.lineages import compatible
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.curation.naming.combinations import Reading, Rows
from bioclip_training.curation.naming.misspelt import correct
from bioclip_training.curation.naming.settling import settle

_NAMES = (
    ("Plantae", "Animalia"), ("Fictophyta", "Fictozoa"), ("Fictopsida",), ("Fictales", "Fictiformes"), ("Fictaceae", "Fictidae"),
    ("Fictrosa", "Fictrosta", "Fictavis"), ("rubescens", "rubescans", "volans"),
)  # fmt: skip
_LINEAGES = st.tuples(*(st.sampled_from(("", *names) if depth < 5 else names) for depth, names in enumerate(_NAMES)))
_ROWS = st.dictionaries(st.sampled_from(("one", "two")), st.integers(1, 100), min_size=1).map(
    lambda rows: tuple(sorted(rows.items()))
)
_WORLDS = st.lists(st.tuples(_LINEAGES, _ROWS, st.booleans()), min_size=1, max_size=12)
World = list[tuple[tuple[str, ...], Rows, bool]]


def readings_of(world: World) -> list[Reading]:
    found = []
    for number, (lineage, rows, is_listed) in enumerate(world):
        reading = Reading(number, " ".join(filter(None, lineage)), rows, Taxon.of(lineage))
        reading.says_place = any(lineage[:5])
        if is_listed and all(lineage):
            reading.taxon_id = f"Inventa:{lineage}"
        found.append(reading)
    return found


@settings(max_examples=60, deadline=None)
@given(_WORLDS, st.randoms(use_true_random=False), st.sampled_from([(), ("two", "one")]))
def test_names_are_settled_in_any_order(world: World, random: object, precedence: tuple[str, ...]) -> None:
    first = readings_of(world)
    again = readings_of(world)
    random.shuffle(again)  # type: ignore[attr-defined]
    results = []
    for readings in (first, again):
        correct(readings)
        apart = settle(readings, precedence)
        results.append((sorted(map(str, apart)), sorted(readings, key=lambda reading: reading.number)))
    assert results[0] == results[1]


@settings(max_examples=60, deadline=None)
@given(_WORLDS)
def test_a_settled_taxon_has_one_lineage_in_its_kingdom_or_is_reported_as_kept_apart(world: World) -> None:
    readings = readings_of(world)
    correct(readings)
    apart = {part.name for part in settle(readings, ())}
    by_name: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for reading in readings:
        lineage = reading.taxon.lineage
        if reading.taxon.rank is not None and lineage[0]:
            by_name.setdefault((lineage[0], *lineage[5:]), []).append(lineage)
    for name, lineages in by_name.items():
        contradictory = [one for one in lineages for other in lineages if not compatible(one, other)]
        higher = {word for one in contradictory for word in one[1:6]}
        assert not contradictory or apart & {*higher, " ".join(name[1:])}


@settings(max_examples=60, deadline=None)
@given(_WORLDS)
def test_names_that_a_taxonomy_decided_stay_and_every_other_change_is_said(world: World) -> None:
    readings = readings_of(world)
    before = [(reading.taxon, reading.taxon_id) for reading in readings]
    correct(readings)
    settle(readings, ())
    for reading, (taxon, taxon_id) in zip(readings, before, strict=True):
        if taxon_id:
            assert reading.taxon in (taxon, Taxon())
        if reading.taxon != taxon:
            assert reading.changes or reading.unresolved is not None
        assert (reading.taxon.rank is None) == (reading.unresolved is not None)
        assert len(RANKS) == len(reading.taxon.lineage)
