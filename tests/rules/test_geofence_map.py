"""A geofence's file: verdicts with their reasons, and a message for each part that cannot be understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.shared.species_labels import ANIMALS, label_of_kind
from bioclip_plugin.rules.geofence_map import geofence_of, read_geofence
from bioclip_plugin.rules.speciesnet_ensemble import Detection, Outcome, Scored, Thresholds, ensemble, fenced, roll_up

FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "fictus")
WOLF = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis", "fictus")
CAT = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Felis", "fictus")
FOXES = "mammalia;carnivora;canidae;vulpes;fictus"
DOGS = "mammalia;carnivora;canidae;;"


@pytest.mark.parametrize(
    ("rules", "region", "allowed", "why"),
    [
        ({}, None, True, "the geofence does not name it"),
        ({FOXES: {}}, None, True, "it is allowed in KEN"),
        ({FOXES: {"allow": {"KEN": []}}}, "CA", True, "it is allowed in KEN-CA"),
        (
            {FOXES: {"allow": {"USA": [], "AUS": []}}},
            None,
            False,
            "it is allowed in 2 countries, and KEN is not one of them",
        ),
        (
            {FOXES: {"allow": {"KEN": ["NA", "MB"]}}},
            "CA",
            False,
            "it is allowed in MB, NA of KEN, and CA is not one of them",
        ),
        ({FOXES: {"allow": {"KEN": ["NA"]}}}, None, True, "it is allowed in KEN"),
        ({FOXES: {"allow": {"KEN": []}, "block": {"KEN": []}}}, None, False, "it is blocked in KEN"),
        ({FOXES: {"block": {"KEN": ["NA"]}}}, "NA", False, "it is blocked in KEN-NA"),
        ({FOXES: {"block": {"KEN": ["NA"]}}}, None, True, "it is allowed in KEN"),
        ({DOGS: {"block": {"KEN": []}}}, None, True, "the geofence does not name it"),
    ],
)
def test_a_verdict_says_why(rules: dict[str, Any], region: str | None, allowed: bool, why: str) -> None:
    verdict = geofence_of(rules).verdict(FOX, "KEN", region)
    assert (verdict.allowed, verdict.why) == (allowed, why)


def test_without_a_country_everything_is_allowed() -> None:
    fence = geofence_of({FOXES: {"block": {"KEN": []}}})
    assert fence.verdict(FOX, None, "NA").why == "the country is not known"
    assert fence.verdict(FOX, "").allowed
    assert not fence.verdict(FOX, "KEN").allowed
    assert fence.taxonomies == (FOXES,)


@pytest.mark.parametrize(("country", "region"), [("KE", None), ("Kenya", None), ("KEN", "California")])
def test_a_place_that_is_not_a_code_is_refused_and_does_not_block_everything(country: str, region: str | None) -> None:
    with pytest.raises(UsageError, match="a geofence needs"):
        geofence_of({}).verdict(FOX, country, region)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is not as it must be: expected 'object', got 'array'"),
        ({"vulpes fictus": {}}, "taxon 'vulpes fictus': 'class;order;family;genus;species' in lower case is needed"),
        ({FOXES.upper(): {}}, "in lower case is needed"),
        ({FOXES: []}, r"an object with 'allow' and 'block' is needed, not \[\]"),
        ({FOXES: {"deny": {}}}, "an object with 'allow' and 'block' is needed"),
        ({FOXES: {"allow": ["KEN"]}}, r"'allow' must be an object of countries, not \[\"KEN\"\]"),
        ({FOXES: {"allow": {"KE": []}}}, "country 'KE': three capital letters"),
        (
            {FOXES: {"block": {"KEN": ["Nairobi"]}}},
            r"country KEN: a list of regions of two characters .* not \[\"Nairobi\"\]",
        ),
        ({FOXES: {"block": {"KEN": None}}}, "a list of regions"),
    ],
)
def test_a_rule_that_cannot_be_understood_is_named_with_taxon_and_value(
    tmp_path: Path, content: Any, message: str
) -> None:
    path = tmp_path / "fence.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SourceError, match=message):
        read_geofence(path)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_geofence(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"a')
    with pytest.raises(SourceError, match=r"cut\.json is not JSON"):
        read_geofence(tmp_path / "cut.json")


# -- the ensemble on our own lineages ----------------------------------------------------------------------------------


def test_our_seven_ranks_roll_up_with_their_phylum() -> None:
    dogs = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae")
    classes = [Scored(FOX, 0.4), Scored(WOLF, 0.3), Scored(CAT, 0.2)]
    assert ensemble(classes, Detection("animal", 0.9)) == Outcome("taxon", dogs, 0.7, "classifier+rollup_to_family")


def test_a_blocked_answer_may_become_another_family_that_adds_up_to_more() -> None:
    fence = geofence_of({FOXES: {"block": {"KEN": []}}, DOGS: {"block": {"KEN": []}}})
    classes = [Scored(FOX, 0.4), Scored(CAT, 0.25), Scored(Taxon(*CAT.lineage[:6], "pictus"), 0.2)]
    found = fenced(classes, blocked=lambda taxon: not fence.verdict(taxon, "KEN").allowed)
    assert found.taxon == Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
    assert found.score == 0.45
    assert found.source == "classifier+geofence+rollup_to_family"


def test_without_classes_the_detector_alone_decides() -> None:
    assert ensemble([], Detection("person", 0.9)).kind == "person"
    assert ensemble([], Detection("animal", 0.6)) == Outcome("taxon", ANIMALS, 0.6, "detector")
    assert ensemble([], Detection("animal", 0.4)).kind == "unknown"
    assert roll_up([], (), 0.5) is None


def test_only_the_best_classes_count_and_thresholds_can_be_moved() -> None:
    classes = [Scored(FOX, 0.4), Scored(WOLF, 0.3)]
    assert ensemble(classes, Detection(), thresholds=Thresholds(considered=1)).kind == "unknown"
    assert ensemble(classes, Detection(), thresholds=Thresholds(sure_class=0.3)).taxon == FOX
    with pytest.raises(UsageError, match="roll_up 65: allowed are 0 to 1"):
        Thresholds(roll_up=65)
    with pytest.raises(UsageError, match="considered 0: allowed are whole numbers from 1"):
        Thresholds(considered=0)


# -- labels ------------------------------------------------------------------------------------------------------------


def test_a_taxon_does_not_have_the_label_of_a_verdict() -> None:
    with pytest.raises(UsageError, match="verdict 'taxon': only these have a label of their own: blank, person"):
        label_of_kind("taxon")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": ' + "[" * 100_000, "more than 64 deep"),
        (f'{{"{FOXES}": {{}}, "{FOXES}": {{}}}}', "the key 'mammalia;carnivora;canidae;vulpes;fictus' twice"),
        ("\ufeff{", "is not JSON: line 1, column"),
        ("", "is empty"),
    ],
)
def test_a_file_that_is_not_such_a_document_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "map.json").write_text(content, "utf-8")
    with pytest.raises(SourceError, match=message):
        read_geofence(tmp_path / "map.json")
