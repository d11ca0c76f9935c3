"""Words of detectors for people, vehicles and nothing: one meaning in every format, rule, report and export."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.camtrap_dp.naming import Naming, naming_of
from bioclip_plugin.formats.folders.placing import shows_people
from bioclip_plugin.formats.shared.image_verdicts import seen_in
from bioclip_plugin.formats.shared.people import is_person
from bioclip_plugin.items.categories import is_named, kind_of_category
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.report.decisions import decided
from bioclip_plugin.report.people import people_in
from bioclip_plugin.store.records import StoredDecision, StoredItem, StoredRegion

PEOPLE = ("person", "Person", " PEOPLE ", "human", "Homo sapiens", "pedestrian", "Hiker", "Mensch", "woman")
VEHICLES = ("vehicle", "Vehicles", "car", "TRUCK", "bicycle", "Fahrzeug")


def stored(category: str, confidence: float | None = 0.9) -> StoredRegion:
    """Return a box that was kept and not classified."""
    box = Region(0.1, 0.1, 0.5, 0.5, "d", "1", category, confidence, classified=False)
    return StoredRegion(box, 1, {}, (), None)


@pytest.mark.parametrize("word", PEOPLE)
def test_a_person_under_any_word_is_not_named_is_blurred_and_is_a_person_everywhere(word: str) -> None:
    assert not is_named(word)
    region = stored(word)
    assert decided(region, 0.2).verdict == "person"
    assert people_in([region], [], "species").boxes == ((0.1, 0.1, 0.5, 0.5),)
    assert naming_of(region, 0.2).kind == "human"  # type: ignore[union-attr]
    assert seen_in(region, "species", 0.2).verdict == "person"  # type: ignore[union-attr]
    item = StoredItem(MediaItem("a.jpg"), "done", None, [region])
    assert shows_people([item], [], "species", 0.2)


@pytest.mark.parametrize("word", VEHICLES)
def test_a_vehicle_under_any_word_is_not_named_and_is_a_vehicle_everywhere(word: str) -> None:
    assert not is_named(word)
    region = stored(word)
    assert decided(region, 0.2).verdict == "vehicle"
    assert naming_of(region, 0.2) == Naming("vehicle", None, 0.9)
    assert seen_in(region, "species", 0.2).verdict == "vehicle"  # type: ignore[union-attr]


@pytest.mark.parametrize("word", ["animal", "", "deer", "bird", "elephant", "1", "Panthera leo", "unknown", "object"])
def test_every_other_word_is_an_animal(word: str) -> None:
    assert kind_of_category(word) == "animal"


@pytest.mark.parametrize("word", ["animal", "deer", "Elephant", "person", "hiker", "vehicle", "truck", "empty"])
@pytest.mark.parametrize("verdict", [None, "unknown", "blank", "person", "vehicle"])
def test_a_box_below_the_threshold_shows_nothing_whatever_the_detector_or_a_rule_calls_it(
    word: str, verdict: Any
) -> None:
    region = replace(stored(word, 0.05), decision=StoredDecision(verdict, None) if verdict else None)
    assert naming_of(region, 0.2) is None
    assert seen_in(region, "species", 0.2) is None
    assert decided(region, 0.2).verdict == ("blank" if verdict == "blank" else "unclassified")


@pytest.mark.parametrize("verdict", [None, "unknown", "blank"])
def test_a_person_below_the_threshold_is_hidden_all_the_same(verdict: Any) -> None:
    region = replace(stored("hiker", 0.05), decision=StoredDecision(verdict, None) if verdict else None)
    assert is_person(region, "species")
    assert people_in([region], [], "species")


def test_a_label_that_means_a_person_hides_the_image_as_a_box_does() -> None:
    label = Candidate(Taxon(common_name="hiker"), "label", 0.9)
    region = StoredRegion(None, 1, {"label": (label,)}, (), None)
    assert people_in([region], [], "label").everywhere
