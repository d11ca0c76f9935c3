"""One taxon, one label: sources that write one taxon with different completeness, contradict each other, or name it differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from catalog_samples import build, listed, save, source_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.taxonomy import RANKS, Taxon, read_row
from bioclip_training.catalog.naming.labelling import Labeller
from bioclip_training.catalog.overview import overview
from bioclip_training.catalog.sources import LabelledSource
from bioclip_training.taxonomy import TaxonomyIndex, build_taxonomy

OAK = {
    "kingdom": "Plantae", "phylum": "Tracheophyta", "class": "Magnoliopsida", "order": "Fagales", "family": "Fagaceae", "genus": "Quercus",
}  # fmt: skip
EPITHETS = ("alba", "rubra", "robur", "ilex", "suber", "cerris")


def lacking(row: Mapping[str, str], *columns: str) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in columns}


def sources(folder: Path, *tables: Sequence[Mapping[str, Any]]) -> list[LabelledSource]:
    """Return tables with one image per row, called ``a``, ``b`` and so on."""
    save(folder, *range(sum(map(len, tables))))
    numbers = iter(range(1000))
    return [
        source_of(folder, [{"image": f"{next(numbers)}.png", **row} for row in table], name=f"{name}.csv")
        for name, table in zip("abcdef", tables, strict=False)
    ]


def test_six_species_of_a_source_without_the_order_are_six_labels_and_not_twelve(tmp_path: Path) -> None:
    full = [{**OAK, "specificEpithet": epithet} for epithet in EPITHETS]
    partial = [lacking(row, "order") for row in full]
    bare = [{"scientificName": f"Quercus {epithet}"} for epithet in EPITHETS]
    catalog, built = build(tmp_path, *sources(tmp_path, partial, full, bare))
    assert [taxon.lineage for taxon in catalog.taxa] == [(*OAK.values(), epithet) for epithet in sorted(EPITHETS)]
    assert catalog.table.column("order").to_pylist() == ["Fagales"] * 18
    changes = catalog.table.column("changes").to_pylist()
    assert changes[0] == ["completed from other rows: order Fagales"]
    assert changes[6] == []
    assert changes[12] == [
        "completed from other rows: kingdom Plantae, phylum Tracheophyta, class Magnoliopsida, order Fagales, family Fagaceae"
    ]
    assert built.facts["taxa_joined"] == 6
    assert built.facts["names_apart"] == {"names": 0}
    assert built.apart is None
    ((kind, rows, first),) = overview(catalog).changes
    assert (kind, rows, first) == (
        "ranks completed from other rows of the same taxon",
        12,
        "'Quercus alba' → 'Quercus alba'",
    )


def test_a_genus_in_two_kingdoms_stays_two_labels_and_is_listed(tmp_path: Path) -> None:
    selfheal = {"kingdom": "Plantae", "family": "Lamiaceae", "genus": "Prunella"}
    accentor = {"kingdom": "Animalia", "family": "Prunellidae", "genus": "Prunella"}
    catalog, built = build(tmp_path, *sources(tmp_path, [selfheal, selfheal], [accentor], [{"genus": "Prunella"}]))
    assert [taxon.kingdom for taxon in catalog.taxa] == ["", "Animalia", "Plantae"]
    rows = [(row["name"], row["kind"], row["differs_at"], row["kingdom"], row["rows"], row["sources"], row["first"])
            for row in listed(built.apart)]  # fmt: skip
    assert rows == [
        ("Prunella", "ambiguous", "kingdom family", "", "1", "c.csv", "3.png"),
        ("Prunella", "contradictory", "kingdom family", "Animalia", "1", "b.csv", "2.png"),
        ("Prunella", "contradictory", "kingdom family", "Plantae", "2", "a.csv", "0.png"),
    ]
    assert built.facts["names_apart"]["names"] == 1
    assert built.facts["names_apart"]["first"].startswith(
        "genus Prunella: Prunella or Animalia Prunellidae Prunella or Plantae"
    )


def test_species_of_a_bare_genus_are_not_given_the_kingdom_of_another_species(tmp_path: Path) -> None:
    selfheal = {"kingdom": "Plantae", "family": "Lamiaceae", "genus": "Prunella", "specificEpithet": "vulgaris"}
    catalog, _ = build(tmp_path, *sources(tmp_path, [selfheal], [{"scientificName": "Prunella modularis"}]))
    assert {taxon.scientific_name: taxon.kingdom for taxon in catalog.taxa} == {
        "Prunella modularis": "",
        "Prunella vulgaris": "Plantae",
    }


def test_a_bacterium_without_its_lineage_is_not_a_stick_insect_of_the_same_genus(tmp_path: Path) -> None:
    insect = {
        "kingdom": "Animalia",
        "order": "Phasmida",
        "family": "Bacillidae",
        "genus": "Bacillus",
        "specificEpithet": "rossius",
    }
    catalog, built = build(tmp_path, *sources(tmp_path, [insect], [{"scientificName": "Bacillus halotolerans"}]))
    assert [taxon.kingdom for taxon in catalog.taxa] == ["", "Animalia"]
    assert built.facts["taxa_joined"] == 0


def test_a_genus_of_which_one_source_has_no_family_is_one_genus(tmp_path: Path) -> None:
    whole = {
        "kingdom": "Fungi",
        "phylum": "Basidiomycota",
        "order": "Agaricales",
        "family": "Amanitaceae",
        "genus": "Amanita",
    }
    catalog, built = build(
        tmp_path,
        *sources(tmp_path, [whole], [{**lacking(whole, "order", "family"), "scientificName": "Amanita Pers."}]),
    )
    assert [taxon.family for taxon in catalog.taxa] == ["Amanitaceae"]
    assert built.apart is None


def test_two_families_of_one_species_stay_apart_until_a_taxonomy_decides(tmp_path: Path) -> None:
    one = {"kingdom": "Animalia", "family": "Scaridae", "genus": "Scarus", "specificEpithet": "ghobban"}
    other = {**one, "family": "Labridae"}
    catalog, built = build(tmp_path, *sources(tmp_path, [one], [other], [lacking(one, "family")]))
    assert [taxon.family for taxon in catalog.taxa] == ["", "Labridae", "Scaridae"]
    assert [row["kind"] for row in listed(built.apart)] == ["ambiguous", "contradictory", "contradictory"]
    with open_taxonomy(tmp_path, "1,Animalia,Chordata,Scaridae,Scarus,Scarus ghobban,species,accepted,") as index:
        catalog, built = build(tmp_path, *sources(tmp_path, [one], [other], [lacking(one, "family")]), resolver=index)
    assert [taxon.family for taxon in catalog.taxa] == ["Scaridae"]
    assert built.apart is None


def test_a_name_that_the_taxonomy_has_twice_is_not_decided_by_the_other_rows(tmp_path: Path) -> None:
    """Agathis montana is a tree and a wasp, and the collection has only the tree with its lineage."""
    tree = {"kingdom": "Plantae", "family": "Araucariaceae", "genus": "Agathis", "specificEpithet": "montana"}
    both = (
        "1,Plantae,Tracheophyta,Araucariaceae,Agathis,Agathis montana,species,accepted,",
        "2,Animalia,Arthropoda,Braconidae,Agathis,Agathis montana,species,accepted,",
    )
    with open_taxonomy(tmp_path, *both) as index:
        catalog, built = build(
            tmp_path, *sources(tmp_path, [tree], [{"scientificName": "Agathis montana"}]), resolver=index
        )
    assert [taxon.kingdom for taxon in catalog.taxa] == ["", "Plantae"]
    assert [(row["kind"], row["kingdom"]) for row in listed(built.apart)] == [
        ("ambiguous", ""),
        ("contradictory", "Plantae"),
    ]


def open_taxonomy(folder: Path, *rows: str) -> TaxonomyIndex:
    table = folder / "names.csv"
    columns = "taxonID,kingdom,phylum,family,genus,scientificName,taxonRank,taxonomicStatus,acceptedNameUsageID"
    table.write_text("\n".join([columns, *rows, ""]))
    file = folder / "names.taxonomy"
    file.unlink(missing_ok=True)
    build_taxonomy(table, file)
    return TaxonomyIndex.open(file)


def test_the_most_frequent_common_name_is_that_of_the_taxon(tmp_path: Path) -> None:
    oak = {**OAK, "specificEpithet": "robur"}
    names = ["English oak", "pedunculate oak", "pedunculate oak", ""]
    rows = [{**oak, "vernacularName": name} for name in names]
    catalog, _ = build(tmp_path, *sources(tmp_path, rows[:2], [lacking(row, "order") for row in rows[2:]]))
    assert [taxon.common_name for taxon in catalog.taxa] == ["pedunculate oak"]
    assert catalog.column("common_name") == ["pedunculate oak", "pedunculate oak", "pedunculate oak", ""]
    changes = catalog.table.column("changes").to_pylist()
    assert changes[0] == ["common name 'English oak' became 'pedunculate oak', the most frequent"]
    assert changes[1] == []
    assert ("one common name per taxon", 1) in [(kind, rows) for kind, rows, _ in overview(catalog).changes]


def test_equally_frequent_common_names_are_those_of_the_first_source(tmp_path: Path) -> None:
    oak = {**OAK, "specificEpithet": "robur"}
    for names in (["oak", "Eiche"], ["Eiche", "oak"]):
        catalog, _ = build(tmp_path, *sources(tmp_path, *[[{**oak, "vernacularName": name}] for name in names]))
        assert catalog.taxa[0].common_name == names[0]


def test_held_out_species_are_those_of_the_joined_taxa(tmp_path: Path) -> None:
    full = [{**OAK, "specificEpithet": epithet} for epithet in EPITHETS]
    partial = [lacking(row, "order", "family") for row in full]
    catalog, _ = build(tmp_path, *sources(tmp_path, partial, full), holdout_names=("Quercus alba",), val=0.0)
    assert catalog.column("split") == ["unseen", *["train"] * 5] * 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(EPITHETS[:3]), st.sets(st.sampled_from(list(OAK)[:-1]))), min_size=1, max_size=8)
)
def test_rows_of_one_species_are_one_label_whatever_ranks_they_lack(rows: list[tuple[str, set[str]]]) -> None:
    """Without contradictions, and with a row that states everything, there is one lineage per species."""
    from bioclip_training.catalog.naming.one_taxon import WrittenTaxa

    labeller, written = Labeller(), WrittenTaxa()
    complete = [(epithet, set[str]()) for epithet in EPITHETS[:3]]
    cells = [
        {**lacking({**OAK, "specificepithet": epithet}, *missing), "specificepithet": epithet}
        for epithet, missing in [*rows, *complete]
    ]
    for number, row in enumerate(cells):
        written.add(labeller.label(row), "a.csv", f"{number}.png")
    labeller.join(written.joined())
    labels = [labeller.label(row).taxon for row in cells]
    assert {taxon.lineage for taxon in labels} == {(*OAK.values(), epithet) for epithet in EPITHETS[:3]}
    assert [taxon.species for taxon in labels] == [read_row(row).taxon.species for row in cells]


@pytest.mark.parametrize("missing", [rank.value for rank in RANKS[:6]])
def test_a_rank_that_is_missing_throughout_stays_missing(tmp_path: Path, missing: str) -> None:
    rows = [{**lacking(OAK, missing), "scientificName": f"Quercus {epithet}"} for epithet in EPITHETS for _ in range(2)]
    catalog, built = build(tmp_path, *sources(tmp_path, rows))
    there = Taxon.of(list(OAK.values())).lineage
    wanted = {(*there[:6], epithet) for epithet in EPITHETS}
    if missing != "genus":  # the genus is in the name
        depth = [rank.value for rank in RANKS].index(missing)
        wanted = {(*lineage[:depth], "", *lineage[depth + 1 :]) for lineage in wanted}
    assert {taxon.lineage for taxon in catalog.taxa} == wanted
    assert built.facts["taxa_joined"] == 0
    assert overview(catalog).scattered == ()
