"""Stage ``names``: labels of records with dirty names, their trace, and the reasons of those without a label."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naming_samples import BIRD, CHECKLIST, PLANT, make_taxonomy, name_records, ranks

from bioclip_core.errors import DataError, UsageError
from bioclip_training.curation.configuration import Curation, NamesConfig, SourceConfig
from bioclip_training.curation.naming import reading, workers
from bioclip_training.curation.naming.combinations import WRITTEN_COLUMNS, Combinations, Written
from bioclip_training.curation.naming.plain import listed_plainly
from bioclip_training.curation.naming.reading import NameReader
from bioclip_training.curation.naming.stage import NamesStage
from bioclip_training.curation.naming.workers import read_all
from bioclip_training.taxonomy import TaxonomyIndex


@pytest.fixture(scope="module")
def taxonomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_taxonomy(tmp_path_factory.mktemp("taxonomy"))


GRONDENSIS, VOLANS = "Fictavis grondensis", "Fictavis volans"
LABELLED: tuple[tuple[dict[str, str], str, str], ...] = (
    # cells, label, what a change says
    (ranks(f"{BIRD} Fictavis volans"), VOLANS, ""),
    (ranks(f"{BIRD} Fictavis Fictavis_volans"), VOLANS, ""),
    (ranks("METAZOA - - - FICTAVIDAE FICTAVIS VOLANS"), VOLANS, "kingdom METAZOA became Animalia"),
    ({"verbatim_name": "<i>Fictavis volans</i> Inv., 1900"}, VOLANS, "markup removed"),
    ({"verbatim_name": "&lt;i&gt;Fictavis volans&lt;/i&gt; M\u00c3\u00bcller"}, VOLANS, "HTML entities written as their characters"),
    ({"verbatim_name": "Fictavis volans subsp. minor Inv."}, VOLANS, "cut at subsp.: 'subsp. minor Inv.' removed"),
    ({"verbatim_name": "Fictavis nigra Mak., 1880"}, GRONDENSIS, "Fictavis nigra is a synonym of Fictavis grondensis (Inventa 2026)"),
    ({"verbatim_name": "Fictornis grondensis", **ranks(BIRD)}, GRONDENSIS, "Fictornis grondensis is a synonym"),
    ({"verbatim_name": "Fictavis grondenis", **ranks(BIRD)}, GRONDENSIS, "Fictavis grondensis is 1 letter away"),
    ({"verbatim_name": "Fictavs grondensis"}, GRONDENSIS, "Fictavis grondensis is 1 letter away"),
    ({"verbatim_name": "Fictavis grondense"}, GRONDENSIS, "Fictavis grondensis has another ending"),
    ({"verbatim_name": "Fictavis gr?ndensis"}, GRONDENSIS, "is the only name of its genus that fits"),
    ({"verbatim_name": "Fictavisgrondensis"}, GRONDENSIS, "without its space"),
    ({"verbatim_name": "Fictavis vo1ans"}, VOLANS, "read as 'Fictavis volans'"),
    ({"verbatim_name": "Fictomala x rubens"}, "Fictomala × rubens", "hybrid mark 'x' written ×"),
    ({"verbatim_name": "Fictavis sp. BOLD:AAB1234", "species": "not_classified"}, "Fictavis", "names no species for certain (sp.)"),
    ({"verbatim_name": "Fictavis cf. volans"}, "Fictavis", "names no species for certain (cf.)"),
    ({"verbatim_name": "BOLD:AAB1234", "family": "Fictavidae"}, "Fictavidae", "a number or code, not a name"),
    ({"genus": "Fictavidae gen.", "species": "sp."}, "Fictavidae", "genus 'Fictavidae' is a family"),
    ({"verbatim_name": "Fictavis belomtis"}, "Fictavis", "labelled by its genus"),
    ({"verbatim_name": "Fictavis vol", **ranks(BIRD)}, "Fictavis", "labelled by its genus"),
    ({"verbatim_name": "Fictxyz belomtis", **ranks(BIRD)}, "Fictavidae", "labelled by its family"),
    ({"verbatim_name": "Fictxyz belomtis", **ranks("Fungi Fictomycota")}, "Fictxyz belomtis", ""),
    ({"verbatim_name": "Fictavis volans", **ranks("Animalia - - - Fictornidae")}, VOLANS, "family Fictornidae is Fictavidae there"),
    ({"verbatim_name": "Fictavis volans", **ranks("Animalia Fictomollusca Fictaves")}, VOLANS, "phylum Fictomollusca is Fictochordata"),
    ({"verbatim_name": "dark-headed grolbet", **ranks(f"{BIRD} Fictavis volans")}, VOLANS, "a common name, where a scientific name is due"),
    ({"verbatim_name": "dark-headed grolbet"}, GRONDENSIS, "common name 'dark-headed grolbet' read as Fictavis grondensis"),
    ({"verbatim_name": "Tundra Grolbet"}, VOLANS, "the only taxon that has it"),
    ({"common_name": "Tundra Grolbet"}, VOLANS, "the only taxon that has it"),
    ({"verbatim_name": "Fictolaeliara tormalis", "kingdom": "Viridiplantae"}, "Fictolaeliara tormalis", "class Fictopsida"),
    ({"verbatim_name": "Fictolaeliara tormalis", "class": "Fictaves"}, "Fictolaeliara tormalis", "phylum Fictochordata"),
    ({"verbatim_name": "Fictolaeliara cordata"}, "Fictolaeliara cordata", "kingdom Plantae"),
    ({"verbatim_name": "Fictolaeliara tormalis Mak."}, "Fictolaeliara tormalis", "kingdom Animalia"),
    ({"verbatim_name": "Fictavis dubia"}, "Fictavidae", "labelled by what they share"),
    ({"verbatim_name": "Fictavis gemina"}, "Fictavis gemina", "labelled by what they share"),
    ({"verbatim_name": "Fictornis grondensis", "genus": "Fictavis"}, GRONDENSIS, "Fictornis grondensis is a synonym"),
    (ranks(BIRD.replace("Animalia", "Plantae")), "Fictavidae", "kingdom Plantae became Animalia"),
    ({"verbatim_name": "Fictavis volans", **ranks("Plantae Fictochordata Fictaves")}, VOLANS, "kingdom Plantae became Animalia"),
)  # fmt: skip
REFUSED: tuple[tuple[dict[str, str], str, str], ...] = (
    # cells, reason in the summary, reason of the record
    ({"verbatim_name": "Fictolaeliara tormalis"}, "whose name several taxa have", "it may be Fictolaeliara tormalis (Animalia"),
    ({"verbatim_name": "Fictolaeliara sp."}, "whose name several taxa have", "is ambiguous"),
    ({"verbatim_name": "Fictxyz belomtis"}, "whose name the taxonomy does not list", "is not in Inventa 2026, nor is a name like it"),
    ({"verbatim_name": "Fictavis volans; Fictomala alba"}, "with several names", "several names in one cell"),
    ({"verbatim_name": "empty"}, "of no organism", "a word for an image without an organism"),
    ({"verbatim_name": "birds"}, "with a common name that belongs to no single species", "is the common name of the class Fictaves"),
    ({"verbatim_name": "NA", "species": "unknown"}, "without a name", "no name in any column"),
    ({"verbatim_name": "Fictavis volans", "kingdom": "Plantae"}, "whose name and ranks", "a homonym in another kingdom"),
    ({"verbatim_name": "Fictavis volans", **ranks("Animalia Fictomollusca Fictoda")}, "whose name and ranks", "contradicts the given"),
    ({"species": "grondensis"}, "with a code or words that are not a name", "without its genus it names nothing"),
)  # fmt: skip


def test_dirty_names_get_the_label_that_is_certain_and_say_every_change(tmp_path: Path, taxonomy: Path) -> None:
    rows = [{**cells, "species": cells.get("species", "").replace("_", " ")} for cells, _, _ in LABELLED]
    named = name_records(tmp_path / "run", rows, taxonomy=taxonomy)
    assert named.names == [label for _, label, _ in LABELLED]
    for number, (_, _, sentence) in enumerate(LABELLED):
        label = named[f"{number:04d}"]
        assert sentence in "; ".join(label["changes"])
        assert label["unresolved"] == ""
    assert named["0000"]["changes"] == []


def test_names_that_are_not_certain_have_no_label_and_their_reason_is_counted_with_an_example(
    tmp_path: Path, taxonomy: Path
) -> None:
    named = name_records(tmp_path / "run", [cells for cells, _, _ in REFUSED], taxonomy=taxonomy)
    for number, (_, kind, reason) in enumerate(REFUSED):
        label = named[f"{number:04d}"]
        assert label["scientific_name"] == label["rank"] == label["taxon_id"] == ""
        assert reason in label["unresolved"]
        assert any(dropped.startswith(kind) for dropped in named.dropped)
    assert sum(named.dropped.values()) == len(REFUSED)
    assert all(entry.example for entry in named.tallied.dropped)


def test_an_accepted_name_has_the_lineage_rank_and_id_of_the_taxonomy(tmp_path: Path, taxonomy: Path) -> None:
    label = name_records(tmp_path / "run", [{"verbatim_name": "Fictavis nigra"}], taxonomy=taxonomy)["0000"]
    assert [label[name] for name in ranks("- - - - - - -")] == [*f"{BIRD} Fictavis grondensis".split()]
    assert (label["rank"], label["taxon_id"], label["outcome"]) == ("species", "Inventa:8", "synonym")
    assert (label["common_name"], label["common_name_language"]) == ("dark-headed grolbet", "en")


def test_unlisted_names_may_be_kept_as_written(tmp_path: Path, taxonomy: Path) -> None:
    named = name_records(
        tmp_path / "run", [{"verbatim_name": "Fictavis belomtis"}], taxonomy=taxonomy, names=NamesConfig(unlisted="keep")
    )  # fmt: skip
    assert named.names == ["Fictavis belomtis"]
    assert named["0000"]["family"] == "Fictavidae"
    assert named["0000"]["taxon_id"] == ""


def test_a_near_name_that_several_sources_write_more_often_is_not_corrected(tmp_path: Path, taxonomy: Path) -> None:
    rows = [{"verbatim_name": "Fictavis volens", "source": source} for source in ("one", "two", "two")]
    rows.append({"verbatim_name": "Fictavis volans"})
    named = name_records(
        tmp_path / "run", [{**row, "record_id": str(n)} for n, row in enumerate(rows)], taxonomy=taxonomy
    )
    assert named.names == ["", "", "", VOLANS]
    assert "2 sources write Fictavis volens, in 3 records" in named["0"]["unresolved"]
    assert named["0"]["unresolved"].endswith("(proposed: Fictavis volans)")


# Without a taxonomy, or for names that it does not have


def test_missing_ranks_are_filled_from_other_records_of_the_taxon(tmp_path: Path) -> None:
    rows = [
        ranks(f"{PLANT} Fictrosa alba"),
        ranks("- - - - Fictaceae Fictrosa alba"),
        ranks("Plantae - - - - Fictrosa"),
    ]
    named = name_records(tmp_path / "run", rows)
    assert [named[f"{n:04d}"]["order"] for n in range(3)] == ["Fictales"] * 3
    assert named["0001"]["changes"] == [
        "completed from other records: kingdom Plantae, phylum Fictophyta, class Fictopsida, order Fictales"
    ]


def test_cells_of_ranks_that_are_no_single_name_are_left_empty(tmp_path: Path) -> None:
    rows = [
        ranks("Plantae Fictophyta - ?? Fict<aceae> Fictrosa alba"),
        {"family": "Fictrosa alba"},
        {"order": "Fict?ales"},
    ]
    named = name_records(tmp_path / "run", rows)
    assert [named["0000"][rank] for rank in ("class", "order", "family", "genus")] == ["", "", "Fict", "Fictrosa"]
    assert named["0001"]["changes"] == ["family 'Fictrosa alba' left empty: it is not a single name"]
    assert named["0001"]["unresolved"] == named["0002"]["unresolved"] == "no rank has a single name"


def test_a_contradictory_family_is_decided_by_a_large_majority_and_else_kept_apart(tmp_path: Path) -> None:
    many = [ranks(f"{PLANT} Fictrosa alba")] * 8 + [ranks(f"{PLANT.replace('Fictaceae', 'Fictoraceae')} Fictrosa alba")]
    named = name_records(tmp_path / "many", many)
    assert named["0008"]["family"] == "Fictaceae"
    assert named["0008"]["changes"] == ["family Fictoraceae became Fictaceae, as 8 records have it, and 1 another one"]
    few = name_records(tmp_path / "few", many[-3:])
    assert [few[f"{n:04d}"]["family"] for n in range(3)] == ["Fictaceae", "Fictaceae", "Fictoraceae"]
    assert "stay several taxa, since nothing decides: " in few.tallied.notes[0]


def test_a_stated_precedence_decides_what_the_majority_does_not(tmp_path: Path) -> None:
    other = PLANT.replace("Fictaceae", "Fictoraceae")
    rows = [
        {**ranks(f"{PLANT} Fictrosa alba"), "source": "one", "record_id": "a"},
        {**ranks(f"{other} Fictrosa alba"), "source": "two", "record_id": "b"},
    ]
    named = name_records(tmp_path / "run", rows, precedence=("two", "one"))
    assert named["a"]["family"] == named["b"]["family"] == "Fictoraceae"
    assert named["a"]["changes"] == ["family Fictaceae became Fictoraceae, as two has it, which comes first"]


def test_the_same_name_in_two_kingdoms_stays_two_taxa_and_refuses_a_record_without_kingdom(tmp_path: Path) -> None:
    rows = [
        ranks(f"{PLANT} Fictoenanthe alba"), ranks(f"{BIRD} Fictoenanthe alba"), {"verbatim_name": "Fictoenanthe alba"},
        {"verbatim_name": "Fictoenanthe minor"}, ranks("- - - - Fictavidae Fictoenanthe alba"),
    ]  # fmt: skip
    named = name_records(tmp_path / "run", rows)
    assert [named[f"{n:04d}"]["kingdom"] for n in range(5)] == ["Plantae", "Animalia", "", "", "Animalia"]
    assert "is a name in Animalia and in Plantae, and the record says no kingdom" in named["0002"]["unresolved"]
    assert named["0003"]["scientific_name"] == ""


def test_a_listed_name_is_in_doubt_if_other_records_have_it_in_a_kingdom_that_the_taxonomy_does_not_list(
    tmp_path: Path, taxonomy: Path
) -> None:
    rows = [
        {"verbatim_name": "Fictavis volans"},
        ranks("Plantae Fictophyta Fictopsida Fictales Fictonovaceae Fictavis volans"),
    ]
    named = name_records(tmp_path / "run", rows, taxonomy=taxonomy)
    assert named["0001"]["unresolved"].startswith("Fictavis volans is listed only as")
    assert named["0000"]["scientific_name"] == VOLANS
    fungi = ranks("Fungi Fictomycota Fictomycetes Fictomycales Fictomycetaceae Fictoenanthe alba")
    named = name_records(tmp_path / "open", [fungi, {"verbatim_name": "Fictoenanthe alba"}], taxonomy=taxonomy)
    assert named.names == ["Fictoenanthe alba", "Fictoenanthe alba"]
    assert named["0001"]["kingdom"] == "Fungi"


def test_a_misspelt_name_is_corrected_by_a_far_more_frequent_one_of_its_genus_and_else_proposed(tmp_path: Path) -> None:
    right, wrong = ranks(f"{PLANT} Fictrosa rubescens"), ranks(f"{PLANT} Fictrosa rubescans")
    named = name_records(tmp_path / "far", [right] * 20 + [wrong])
    assert named["0020"]["scientific_name"] == "Fictrosa rubescens"
    assert named["0020"]["changes"] == [
        "Fictrosa rubescans is within two letters of Fictrosa rubescens, which has 20 records, not 1"
    ]
    near = name_records(tmp_path / "near", [right] * 5 + [wrong])
    assert near["0005"]["scientific_name"] == ""
    assert near["0005"]["unresolved"].endswith("(proposed: Fictrosa rubescens)")


# The same labels in any order


ROWS: list[dict[str, Any]] = [
    {**cells, "source": ("one", "two")[n % 2], "record_id": f"{n:04d}", "common_name": common}
    for n, ((cells, *_), common) in enumerate(
        zip((*LABELLED, *REFUSED), ("Grolbet", "dark grolbet", "DARK GROLBET", "") * 10, strict=False)
    )
]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_labels_do_not_depend_on_the_order_of_records_and_sources_nor_on_threads(
    tmp_path: Path, taxonomy: Path, seed: int
) -> None:
    shuffled = random.Random(seed).sample(ROWS, len(ROWS))
    first = name_records(tmp_path / "first", ROWS, taxonomy=taxonomy)
    again = name_records(tmp_path / "again", shuffled, taxonomy=taxonomy, threads=1 + seed, parts=1)
    assert again.files == first.files
    assert again.tallied == first.tallied


def test_labels_are_written_in_the_parts_of_the_records(tmp_path: Path, taxonomy: Path) -> None:
    whole = name_records(tmp_path / "whole", ROWS, taxonomy=taxonomy)
    parted = name_records(tmp_path / "parted", ROWS, taxonomy=taxonomy, parts=4)
    assert sorted(parted.files) == [f"part-00{n}.parquet" for n in range(4)]
    assert parted.rows == whole.rows


def test_plain_names_are_read_as_the_parser_and_the_resolver_read_them(taxonomy: Path) -> None:
    forms = (
        "{g} {e}", "{g} {e} Inventor, 1900", "{g} {e} (Inventor, 1900)", "{g} {e} Inv.", "{g} {e} minor", "{g} x {e}", "{g} sp", "{g}",
        "{g} {e} (Inv.) Mak. ex Müller & Inv., 1900", "{g} {e} X", "{g} {e} Type",
        "{g} {e} M\u00c3\u00bcller", "{g} {e} Inv. f.", "{g} {e} &amp; Inv.",
    )  # fmt: skip
    above = (
        "Animalia Fictochordata Fictaves",
        "Plantae",
        "Animalia - - - Fictavidae",
        "Animalia - - Fictales",
        "METAZOA",
        "-",
    )
    written = [
        Written(0, {name: cell for name, cell in cells.items() if cell}, (("one", 1),))
        for _, _, _, name, *_ in CHECKLIST
        if " " in name and "×" not in name
        for genus, epithet in [name.split()[:2]]
        for form in forms
        for place in above
        for cells in (
            {**ranks(place), "scientificname": form.format(g=genus, e=epithet)},
            {**ranks(place), "genus": genus, "species": epithet, "scientificname": form.format(g=genus, e=epithet)},
            {**ranks(place), "genus": genus, "species": form.format(g=genus, e=epithet), "taxonrank": "SPECIES"},
        )
    ]
    with TaxonomyIndex.open(taxonomy) as index:
        plain = [(one, found) for one in written if (found := listed_plainly(one, index)) is not None]
        reader = NameReader(index)
        assert len(plain) > 100
        for one, found in plain:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(reading, "listed_plainly", lambda *_: None)
                assert reader.read(one) == found


def test_processes_read_what_this_one_reads(taxonomy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pa.Table.from_pylist([
        {**dict.fromkeys(WRITTEN_COLUMNS, ""), "verbatim_name": cells.get("verbatim_name", ""), "sources": ["one"], "counts": [1]}
        for cells, *_ in (*LABELLED, *REFUSED)
    ])  # fmt: skip
    done: list[int] = []
    here = list(read_all(Combinations(rows), taxonomy, "higher", 1, done.append))
    monkeypatch.setattr(workers, "_FEW", 0)
    assert list(read_all(Combinations(rows), taxonomy, "higher", 2, done.append)) == here
    assert done == [len(here)] * 2


PIECES = (
    "Fictavis", "volans", "Fictolaeliara tormalis", "Animalia", "Plantae", "FICTAVIDAE", "×", " x ", "cf.", "sp.", "?", "…", "<i>",
    "&lt;i&gt;", "\u00a0", "\u200b", "\ufffd", "\u00c3\u2014", "&#0;", "&#xD800;", "/", ";", "(", ")", "[", "BOLD:AAA1234", "1", "é", "和",
    "\x00", "\n", "_", "-", " ",
)  # fmt: skip
CELLS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(dict.fromkeys(("scientificname", "kingdom", "family", "genus", "species"), CELLS)),
    st.booleans(),
)
def test_whatever_is_written_gives_a_name_or_a_reason(taxonomy: Path, cells: dict[str, str], is_resolved: bool) -> None:
    with TaxonomyIndex.open(taxonomy) as index:
        found = NameReader(index if is_resolved else None).read(Written(0, cells, (("one", 1),)))
    assert (found.taxon.rank is None) == (found.unresolved is not None)
    assert found.taxon.genus or not found.taxon.species
    assert not set("\x00\n<>&?;/()[]_…") & set("".join(found.taxon.lineage))
    assert all(change.encode() for change in found.changes)


# Faults of the field, with invented names; the addresses are those of the reports


FIELD: tuple[tuple[str, Mapping[str, str], str, str], ...] = (
    # a kingdom alone is not a misspelt genus: gbif/checklistbank#226
    ("Plantae", {"kingdom": "Plantae"}, "Plantae", "kingdom"),
    # an aggregate of a genus that is one of animals too: gbif/portal-feedback#1510
    ("Fictolaeliara cordata agg.", {"family": "Fictoscrophulariaceae"}, "Fictolaeliara cordata", "species"),
    ("Fictolaeliara vulgata agg.", {"family": "Fictoscrophulariaceae"}, "", ""),
    # what a hybrid is made of, in brackets: gbif/portal-feedback#6430
    ("Fictomala x rubens (F. alba x F. rosea)", {}, "Fictomala × rubens", "species"),
    # an epithet that is a genus of another class: Imageomics/TaxonoPy#12
    ("Fictomala fictavis", {**ranks(PLANT), "genus": "Fictomala", "species": "fictavis"}, "Fictomala", "genus"),
    # a section is not an epithet: gbif/portal-feedback#2225
    ("Fictomala sect. Naevosa", {"kingdom": "Plantae"}, "Fictomala", "genus"),
    # the genus of an unlisted species keeps the kingdom: gbif/checklistbank#97
    ("Fictolaeliara purpurata", {"kingdom": "Plantae"}, "Fictolaeliara", "genus"),
    # words that are the root of all life: gbif/portal-feedback#4498
    ("Biota", {}, "", ""),
)  # fmt: skip


def test_faults_that_were_reported_of_other_resolvers_do_not_happen(tmp_path: Path, taxonomy: Path) -> None:
    named = name_records(
        tmp_path / "run", [{"verbatim_name": written, **cells} for written, cells, _, _ in FIELD], taxonomy=taxonomy
    )  # fmt: skip
    found = [(named[f"{n:04d}"]["scientific_name"], named[f"{n:04d}"]["rank"]) for n in range(len(FIELD))]
    assert found == [(name, rank) for _, _, name, rank in FIELD]
    assert {named[f"{n:04d}"]["kingdom"] for n in (1, 5, 6)} == {"Plantae"}


# Refused


def test_a_taxonomy_of_another_version_is_refused(tmp_path: Path, taxonomy: Path) -> None:
    with pytest.raises(DataError, match="is Inventa 2026, and the configuration states version 2025: give the file"):
        name_records(tmp_path / "a", ROWS, taxonomy=taxonomy, names=NamesConfig(taxonomy_version="2025"))
    other = Curation(
        tmp_path, {"s": SourceConfig(tmp_path)}, taxonomy=taxonomy, names=NamesConfig(taxonomy_version="2025")
    )
    with pytest.raises(DataError, match="the configuration states version 2025"):
        NamesStage().check(other)  # before the first stage
    with pytest.raises(UsageError, match="no taxonomy is given"):
        name_records(tmp_path / "b", ROWS, names=NamesConfig(taxonomy_version="2025"))
