"""The second opinion: each judgement, and a surprise worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioclip_core.classify import Candidate
from bioclip_core.errors import UsageError
from bioclip_core.labels.label_set import in_memory
from bioclip_core.labels.manifest import Block
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.reviews.second_opinion import COLUMNS, Opinion, SecondOpinion, Spool
from bioclip_plugin.store import ItemRecord, RegionRecord, RunPlan, Store
from bioclip_training.taxonomy import TaxonomyIndex, build_taxonomy

OAKS = ("Plantae", "Tracheophyta", "Magnoliopsida", "Fagales", "Fagaceae", "Quercus")
ROBUR, PETRAEA = Taxon.of((*OAKS, "robur")), Taxon.of((*OAKS, "petraea"))
BEECH = Taxon.of((*OAKS[:5], "Fagus", "sylvatica"))
LYNX = Taxon.of(("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "lynx"))
PLAN = RunPlan(
    sources=("p",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={},
)  # fmt: skip
MAPLE = Taxon.of((*OAKS[:3], "Sapindales", "Sapindaceae", "Acer", "capillipes"))
MAPLE_SHEET = {"kingdom": "Plantae", "family": "Sapindaceae", "genus": "Acer", "specificEpithet": "capillipes"}
MAMMALS = Taxon.of(("Animalia", "Chordata", "Mammalia"))
ANSWER = ((ROBUR, 0.6), (PETRAEA, 0.15), (BEECH, 0.05))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


@pytest.fixture
def taxonomy(tmp_path: Path) -> Iterator[TaxonomyIndex]:
    table = tmp_path / "list.csv"
    table.write_text(
        "taxonID,scientificName,taxonRank,taxonomicStatus,acceptedNameUsageID,parentNameUsageID,kingdom,family,genus\n"
        "1,Quercus robur,species,accepted,,,Plantae,Fagaceae,Quercus\n"
        "2,Quercus pedunculata,species,synonym,1,,Plantae,Fagaceae,Quercus\n"
        "3,Quercus petraea,species,accepted,,,Plantae,Fagaceae,Quercus\n"
        "4,Fagus sylvatica,species,accepted,,,Plantae,Fagaceae,Fagus\n"
    )
    build_taxonomy([table], tmp_path / "l.taxonomy", checklist="ours", version="1", progress=lambda _n: None)
    with TaxonomyIndex.open(tmp_path / "l.taxonomy") as index:
        yield index


def judge_with(*taxa: Taxon) -> SecondOpinion:
    """Return a judge with a label set of these taxa."""
    identity = {"weights_sha256": "w", "source": "invented", "revision": ""}
    rows = np.eye(len(taxa), dtype=np.float16)
    return SecondOpinion(in_memory(taxa, rows, identity, [Block(0, len(taxa), "text", 1.0)]))


def opinion(
    store: Store,
    metadata: dict[str, Any],
    decided: Taxon | None = ROBUR,
    judge: SecondOpinion | None = None,
    answer: Sequence[tuple[Taxon, float]] = ANSWER,
    plan: RunPlan = PLAN,
) -> Opinion:
    run = store.begin_run(plan)
    (listed,) = store.list_items(run, [MediaItem("sheet.jpg", metadata=metadata)], [None])
    level = plan.answer_settings["rank"]
    candidates = tuple(Candidate(taxon, level, probability) for taxon, probability in answer)
    best = Candidate(decided, decided.rank.value, 0.7) if decided and decided.rank else None
    store.commit(
        run, [ItemRecord(listed, listed.item, regions=(RegionRecord(None, None, {level: candidates}, (), best),))]
    )
    (found,) = (judge or SecondOpinion()).opinions(store, run)
    assert tuple(found.row) == COLUMNS
    return found


@pytest.mark.parametrize(
    ("metadata", "decided", "judgement", "agrees_at"),
    [
        ({"scientificName": "Quercus robur L."}, ROBUR, "agree", "species"),
        ({"genus": "Quercus", "specificEpithet": "robur"}, ROBUR, "agree", "species"),
        ({"family": "Fagaceae"}, ROBUR, "agree", "family"),
        ({"scientificName": "Quercus petraea"}, ROBUR, "agree at genus", "genus"),
        ({"scientificName": "Quercus robur"}, Taxon.of(OAKS), "agree at genus", "genus"),
        ({"scientificName": "Quercus robur", "family": "Fagaceae"}, Taxon.of(OAKS[:5]), "agree above genus", "family"),
        ({"scientificName": "Fagus sylvatica"}, ROBUR, "conflict", None),
        ({"scientificName": "Lynx lynx", "kingdom": "Animalia"}, ROBUR, "conflict", None),
        ({"scientificName": "Quercus robur"}, None, "no answer", None),
        ({"scientificName": ""}, ROBUR, "no catalogued name", None),
        ({"note": "under the lid"}, ROBUR, "no catalogued name", None),
        ({"scientificName": "indet.", "family": "Fagaceae"}, ROBUR, "agree", "family"),
        ({"scientificName": "Unidentified leaf", "kingdom": "Plantae"}, ROBUR, "name not read", None),
        ({"scientificName": "Q. robur", "kingdom": "Plantae"}, ROBUR, "name not read", None),
        ({"scientificName": "Quercus robur, det. A. Smith 1975"}, ROBUR, "agree", "species"),
        ({"scientificName": "Quercus (s. str.) robur"}, ROBUR, "agree", "species"),
        ({"scientificName": "? Quercus robur"}, ROBUR, "agree", "species"),
        ({"scientificName": "Quercus petraea?"}, ROBUR, "agree at genus", "genus"),
        ({"scientificName": "Fagus cf. sylvatica"}, ROBUR, "conflict", None),
        ({"scientificName": "Quercus sp."}, ROBUR, "agree", "genus"),
        ({"scientificName": "Quercus robur × Q. petraea"}, ROBUR, "agree at genus", "genus"),
        ({"scientificName": "Quercus robur vel petraea"}, ROBUR, "agree at genus", "genus"),
        ({"scientificName": "Quercus robur / Quercus petraea"}, ROBUR, "agree at genus", "genus"),
        ({"scientificName": "Fagus sylvatica x orientalis"}, ROBUR, "conflict", None),
    ],
)
def test_each_judgement(
    store: Store, metadata: dict[str, Any], decided: Taxon | None, judgement: str, agrees_at: str | None
) -> None:
    found = opinion(store, metadata, decided)
    assert (found.judgement, found.row["agrees_at"]) == (judgement, agrees_at)


@pytest.mark.parametrize(
    ("metadata", "doubt", "resolved", "reason"),
    [
        ({"scientificName": "Quercus robur?"}, "?", "Quercus robur", "in doubt (?): compared as Quercus robur"),
        ({"scientificName": "Quercus robur", "identificationQualifier": "cf."}, "cf.", "Quercus robur", "in doubt (cf.)"),
        ({"scientificName": "Quercus robur x Q. petraea"}, "hybrid formula", "Quercus", "in doubt (hybrid formula): compared as Quercus"),
        ({"scientificName": "Unidentified leaf", "kingdom": "Plantae"}, None, None, "'Unidentified leaf' cannot be read: a placeholder"),
        ({"family": "Fagaceae"}, None, "Fagaceae", "no name of its own: compared at family"),
    ],
)  # fmt: skip
def test_a_row_says_how_a_doubtful_or_missing_name_is_compared(
    store: Store, metadata: dict[str, Any], doubt: str | None, resolved: str | None, reason: str
) -> None:
    row = opinion(store, metadata).row
    assert (row["catalogued_doubt"], row["resolved_name"]) == (doubt, resolved)
    assert reason in row["reason"]


def test_a_synonym_agrees_through_the_taxonomy_and_says_how(store: Store, taxonomy: TaxonomyIndex) -> None:
    name = {"scientificName": "Quercus pedunculata Ehrh.", "catalogNumber": "B 10 0001", "occurrenceID": "urn:x"}
    assert opinion(store, name).judgement == "agree at genus"
    found = opinion(store, name, judge=SecondOpinion(taxonomy=taxonomy))
    assert (found.judgement, found.row["resolved_name"]) == ("synonym", "Quercus robur")
    assert (found.row["catalog_number"], found.row["occurrence_id"]) == ("B 10 0001", "urn:x")
    assert "authority 'Ehrh.' removed" in found.row["reason"]
    assert "synonym" in found.row["reason"]


def test_the_surprise_is_how_many_times_more_probable_the_best_candidate_is(store: Store) -> None:
    stored = opinion(store, {"scientificName": "Quercus petraea"})
    assert stored.surprise == pytest.approx(math.log(0.6 / 0.15))
    assert (stored.row["catalogued_probability"], stored.row["catalogued_probability_is"]) == (0.15, "stored")
    assert opinion(store, {"scientificName": "Quercus robur"}).surprise == pytest.approx(0.0)
    absent = opinion(store, {"scientificName": "Lynx lynx"})  # at most as probable as the last stored candidate
    assert absent.surprise == pytest.approx(math.log(0.6 / 0.05))
    assert (absent.row["catalogued_probability"], absent.row["catalogued_probability_is"]) == (0.05, "at most")
    genus = opinion(store, {"genus": "Quercus"})
    assert genus.row["catalogued_probability"] == pytest.approx(0.75)


def test_the_name_may_stand_in_a_column_of_the_collections_own(store: Store) -> None:
    metadata = {"scientificName": "Lynx lynx", "Det. name": "Quercus robur"}
    assert opinion(store, metadata, judge=SecondOpinion(name_column="Det. name")).judgement == "agree"


def test_rows_come_back_by_their_keys(tmp_path: Path) -> None:
    with Spool() as spool:
        for key, name in ((0.5, "ä"), (2.0, "b"), (-1.0, "c"), (0.5, "d")):
            spool.add({"name": name}, key)
        assert [row["name"] for row in spool.rows()] == ["b", "ä", "d", "c"]


def test_a_class_is_above_a_name_that_is_catalogued_without_one(store: Store) -> None:
    judge = judge_with(MAPLE, ROBUR, LYNX)
    found = opinion(store, MAPLE_SHEET, Taxon.of(OAKS[:3]), judge)
    assert (found.judgement, found.row["agrees_at"]) == ("agree above genus", "class")
    order = opinion(store, MAPLE_SHEET, Taxon.of(OAKS[:4]), judge)  # the label set has the species in another order
    assert (order.judgement, order.row["agrees_at"]) == ("conflict", "class")
    other = opinion(
        store, {**MAPLE_SHEET, "specificEpithet": "nowhere"}, Taxon.of(OAKS[:3]), judge
    )  # the genus is known
    assert (other.judgement, other.row["in_label_set"]) == ("agree above genus", "no")


def test_a_name_of_several_lineages_belongs_to_each_that_the_catalogue_allows(store: Store) -> None:
    holes = Taxon.of(("Plantae", "", "", "", "Sapindaceae", "Acer", "capillipes"))
    namesake = Taxon.of(("Animalia", "Mollusca", "Bivalvia", "", "", "Acer", "capillipes"))
    judge = judge_with(holes, namesake, MAPLE)
    assert opinion(store, MAPLE_SHEET, Taxon.of(OAKS[:3]), judge).judgement == "agree above genus"
    assert opinion(store, MAPLE_SHEET, namesake.truncated(Rank.CLASS), judge).judgement == "conflict"


def test_the_label_sets_family_holds_for_an_answer_from_it(store: Store) -> None:
    older = {**MAPLE_SHEET, "family": "Aceraceae"}
    found = opinion(store, older, MAPLE.truncated(Rank.FAMILY), judge_with(MAPLE, ROBUR))
    assert (found.judgement, found.row["agrees_at"]) == ("agree above genus", "family")


def test_without_a_label_set_the_candidates_know_the_ranks_above(store: Store) -> None:
    name = {"scientificName": "Acer capillipes"}
    answer = ((MAPLE, 0.59), (LYNX, 0.2))
    assert opinion(store, name, Taxon.of(OAKS[:3]), answer=answer).judgement == "agree above genus"
    assert opinion(store, name, LYNX.truncated(Rank.CLASS), answer=answer).judgement == "conflict"


@pytest.mark.parametrize(
    ("metadata", "decided", "judgement", "agrees_at"),
    [
        ({"kingdom": "Animalia"}, MAMMALS, "agree above genus", "kingdom"),
        ({"kingdom": "Animalia", "phylum": "Mollusca"}, MAMMALS, "conflict", "kingdom"),
        ({"kingdom": "Animalia", "class": "Aves"}, MAMMALS, "conflict", "kingdom"),
        ({}, MAMMALS, "no common rank", None),
        ({"scientificName": "Felis"}, LYNX, "conflict", None),
    ],
)
def test_a_rank_missing_in_the_catalogue_is_not_a_conflict(
    store: Store, metadata: dict[str, Any], decided: Taxon, judgement: str, agrees_at: str | None
) -> None:
    found = opinion(store, {"scientificName": "Felis silvestris", **metadata}, decided)
    assert (found.judgement, found.row["agrees_at"]) == (judgement, agrees_at)


def test_a_species_without_a_family_is_not_as_probable_as_its_whole_kingdom(store: Store) -> None:
    families = replace(PLAN, answer_settings={"rank": "family"})
    answer = tuple((taxon.truncated(Rank.FAMILY), probability) for taxon, probability in ((ROBUR, 0.7), (MAPLE, 0.2)))
    name = {"kingdom": "Plantae", "scientificName": "Acer capillipes"}
    unknown = opinion(store, name, Taxon.of(OAKS[:5]), answer=answer, plan=families)
    assert (unknown.row["catalogued_probability"], unknown.surprise) == (None, None)
    known = opinion(store, name, Taxon.of(OAKS[:5]), judge_with(MAPLE, ROBUR), answer, families)
    assert known.row["catalogued_probability"] == 0.2


def test_a_column_that_no_image_has_is_an_error_that_lists_those_there_are(store: Store) -> None:
    judge = SecondOpinion(name_column="nope")
    with pytest.raises(UsageError, match="their columns are none"):
        opinion(store, {}, judge=judge)
    with pytest.raises(UsageError, match=r"their columns are column 00, column 01, .*, column 19 and 10 more$"):
        opinion(store, {f"column {number:02}": "x" for number in range(30)}, judge=judge)
    assert opinion(store, {"nope": ""}, judge=judge).judgement == "no catalogued name"


FOX, DEER = Taxon(common_name="arctic fox"), Taxon(common_name="roe deer")


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize(
    ("metadata", "decided", "judgement", "probability"),
    [
        ({"scientificName": "Arctic fox"}, FOX, "agree", 0.7),
        ({"scientificName": "arctic fox"}, DEER, "conflict", 0.7),
        ({"vernacularName": "arctic fox"}, FOX, "agree", 0.7),
        ({"scientificName": "arctic fox"}, None, "no answer", 0.7),
        ({"scientificName": "lynx of the moor"}, FOX, "name not read", None),
        ({"scientificName": "Blank"}, FOX, "name not read", None),
        ({"scientificName": "Quercus robur"}, FOX, "not in the label set", None),
    ],
)
def test_labels_without_a_taxonomy_are_compared_by_their_words(
    store: Store,
    custom: bool,
    metadata: dict[str, Any],
    decided: Taxon | None,
    judgement: str,
    probability: float | None,
) -> None:
    identity = {"weights_sha256": "w", "source": "invented", "revision": ""}
    taxa = [FOX, DEER] if custom else [Taxon.plain("arctic fox"), Taxon.plain("roe deer")]
    labels = in_memory(taxa, np.eye(2, dtype=np.float16), identity, [Block(0, 2, "text", 1.0)], custom=custom)
    settings = {"rank": "species", **({"words": ["arctic fox", "roe deer"]} if custom else {})}
    level = "label" if custom else "species"
    run = store.begin_run(replace(PLAN, answer_settings=settings))
    (listed,) = store.list_items(run, [MediaItem("sheet.jpg", metadata=metadata)], [None])
    candidates = (Candidate(FOX, "label", 0.7), Candidate(DEER, "label", 0.3))
    best = Candidate(decided, "label", 0.7) if decided else None
    regions = (RegionRecord(None, None, {level: candidates}, (), best),)
    store.commit(run, [ItemRecord(listed, listed.item, regions=regions)])
    (found,) = SecondOpinion(labels).opinions(store, run)
    assert found.judgement == judgement
    if judgement != "not in the label set":  # then it is a limit, or unknown
        assert found.row["catalogued_probability"] == probability
