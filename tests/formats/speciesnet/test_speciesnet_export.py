"""SpeciesNet files as output: the content for every kind of item and decision, and use by SpeciesNet's own programs."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from megadetector_samples import DOGS, FOX, Given, box, region, run_of, stored
from speciesnet_samples import parse_label

from bioclip_core.classify import Candidate
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.species_labels import ANIMAL, BLANK, HUMAN, UNKNOWN, VEHICLE, label_of
from bioclip_plugin.formats.speciesnet.read import SpeciesNetSource
from bioclip_plugin.formats.speciesnet.write import SpeciesNetExporter
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store.records import StoredDecision

ANIMALS = Taxon("Animalia")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def exported(*items: Any, warnings: bool = False, run: Any = None, **options: Any) -> list[dict[str, Any]]:
    """Return the predictions that are written for these items, after our own check found no problems."""
    exporter, path = SpeciesNetExporter(), Path("out.json")
    count = exporter.write(path, Given(items, run, **options))
    found = list(exporter.check(path, ExportOptions()))
    assert [str(one) for one in found if one.severity == "error" or not warnings] == []
    assert exporter.recognises(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["info"] == {"format_version": "20261015"}
    assert count == len(content["predictions"])
    predictions: list[dict[str, Any]] = content["predictions"]
    return predictions


def only(*items: Any, **options: Any) -> dict[str, Any]:
    (entry,) = exported(*items, **options)
    return entry


def decided(verdict: Any, candidate: Candidate | None = None, *trail: dict[str, Any]) -> StoredDecision:
    return StoredDecision(verdict, candidate, None, trail)


def processed(of: Any, decision: StoredDecision | None, **by_rank: Any) -> dict[str, Any]:
    """Return the processed classification of one region with this decision."""
    found: dict[str, Any] = only(stored("a.jpg", region(of, decision, **by_rank)))["detections"][0][
        "processed_classification"
    ]
    return found


# -- boxes, classes and decisions ----------------------------------------------------------------------------------


def test_boxes_are_ordered_by_confidence_with_their_classes_and_decisions() -> None:
    person, low = box("person", 0.98, 0.2, classified=False), box(confidence=0.1, x=0.3, classified=False)
    entry = only(stored("cam/a.jpg", region(low), region(box()), region(person)))
    assert entry["filepath"] == "cam/a.jpg"
    assert entry["model_version"] == "fake (bioclip-plugin)"
    human, animal, faint = entry["detections"]
    assert human == {"category": "2", "label": "human", "conf": 0.98, "bbox": [0.2, 0.2, 0.3, 0.4]}
    assert faint == {"category": "1", "label": "animal", "conf": 0.1, "bbox": [0.3, 0.2, 0.3, 0.4]}
    assert animal["conf"] == 0.9123
    fox, wolf = animal["raw_classifications"]["classes"]
    assert fox.split(";")[1:] == ["mammalia", "carnivora", "canidae", "vulpes", "fictus", "invented fox"]
    assert wolf.split(";")[1:] == ["mammalia", "carnivora", "canidae", "canis", "fictus", "canis fictus"]
    assert animal["raw_classifications"]["scores"] == [0.7123, 0.25]
    assert animal["processed_classification"] == {
        "class": label_of(DOGS), "score": 0.97, "source": "classifier+rollup_to_family",
    }  # fmt: skip
    assert label_of(DOGS).endswith(";mammalia;carnivora;canidae;;;canidae family")


def test_a_whole_image_is_the_detection_of_category_0() -> None:
    (whole,) = only(stored("a.jpg", region(None)))["detections"]
    assert (whole["category"], whole["label"], whole["conf"]) == ("0", "whole_image_classification", 1.0)
    assert whole["bbox"] == [0.0, 0.0, 1.0, 1.0]
    assert len(whole["raw_classifications"]["classes"]) == 2


def test_a_box_drawn_by_hand_is_an_animal_of_confidence_1() -> None:
    (drawn,) = only(stored("a.jpg", region(box("", None))))["detections"]
    assert (drawn["category"], drawn["label"], drawn["conf"]) == ("1", "animal", 1.0)


def test_categories_that_speciesnet_does_not_have_keep_their_word_behind_its_own() -> None:
    first = stored("a.jpg", region(box("fish")), region(box("Human", 0.5, classified=False)))
    second = stored("b.jpg", region(box("bird of prey")), region(box("fish", 0.5)))
    found = [
        (one["category"], one["label"])
        for entry in exported(first, second, warnings=True)
        for one in entry["detections"]
    ]
    assert found == [("4", "fish"), ("2", "human"), ("5", "bird of prey"), ("4", "fish")]


@pytest.mark.parametrize(
    ("verdict", "label"), [("blank", BLANK), ("person", HUMAN), ("vehicle", VEHICLE), ("unknown", UNKNOWN)]
)
def test_verdicts_that_are_no_taxon_have_speciesnets_own_labels(verdict: Any, label: str) -> None:
    found = processed(
        box(), decided(verdict, None, {"rule": "speciesnet-ensemble", "did": "x", "source": "detector", "score": 0.8})
    )
    assert found == {"class": label, "score": 0.8, "source": "detector"}


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (decided("taxon", Candidate(FOX, "species", 0.7)), (label_of(FOX), 0.7, "classifier")),
        (decided("taxon", Candidate(Taxon("Animalia", "Chordata"), "phylum", 0.9)), (ANIMAL, 0.9, "classifier+rollup_to_kingdom")),
        (decided("taxon", Candidate(ANIMALS, "kingdom", 1.0)), (ANIMAL, 1.0, "classifier+rollup_to_kingdom")),
        (decided("taxon", Candidate(DOGS, "family", 0.9), {"rule": "geofence", "did": "rolled up"}),
         (label_of(DOGS), 0.9, "classifier+geofence+rollup_to_family")),
        (decided("unknown", None, {"rule": "geofence", "did": "blocked"}), (UNKNOWN, 0.7123, "classifier+geofence+rollup_failed")),
        (decided("unknown", None, {"rule": "unknown", "did": "made unknown"}), (UNKNOWN, 0.7123, "classifier")),
        (decided("blank", None, {"rule": "blanks", "did": "made blank"}), (BLANK, 0.0877, "detector")),
        (decided("person", None, {"rule": "blanks", "did": "made person"}), (HUMAN, 0.9123, "detector")),
        (decided("taxon", None), (UNKNOWN, 0.7123, "classifier")),
    ],
)  # fmt: skip
def test_a_decision_states_its_score_and_where_it_comes_from(
    decision: StoredDecision, expected: tuple[Any, ...]
) -> None:
    found = processed(box(), decision)
    assert (found["class"], found["score"], found["source"]) == expected


def test_a_person_that_a_rule_decided_on_by_its_box_is_a_decision_of_the_detector() -> None:
    person = box("person", 0.8, classified=False)
    assert processed(person, decided("person")) == {"class": HUMAN, "score": 0.8, "source": "detector"}
    (left_open,) = only(stored("a.jpg", region(person, decided("unknown"))))["detections"]
    assert "processed_classification" not in left_open


def test_candidates_are_limited_to_the_requested_number_and_equal_ones_are_added_up() -> None:
    human = Taxon("Animalia", "Chordata", "Mammalia", "Primates", "Hominidae", "Homo", "sapiens")
    people = Candidate(human, "species", 0.3), Candidate(Taxon("Metazoa", "", *human.lineage[2:]), "species", 0.2)
    many = (Candidate(FOX, "species", 0.4), *people, Candidate(Taxon(genus="Fictus", species="a"), "species", 0.1))
    entry = only(stored("a.jpg", region(box(), species=many)), top=3)
    assert entry["detections"][0]["raw_classifications"] == {"classes": [HUMAN, label_of(FOX)], "scores": [0.5, 0.4]}


def test_labels_of_ones_own_are_names_without_taxonomy_and_a_blank_is_speciesnets() -> None:
    words = tuple(
        Candidate(Taxon(common_name=word), "label", p)
        for word, p in (("a red; car", 0.6), ("Empty", 0.3), ("animal", 0.1))
    )
    run = run_of(answer_settings={"rank": "label", "words": "w"})
    entry = only(stored("a.jpg", region(box(), decided("taxon", words[0]), label=words)), run=run)
    car, *others = entry["detections"][0]["raw_classifications"]["classes"]
    assert others == [BLANK, ANIMAL]
    assert car.split(";")[1:] == ["", "", "", "", "", "a red car"]
    assert parse_label(car).taxon.common_name == "a red car"


def test_the_same_taxon_has_the_same_id_everywhere_and_its_own_where_it_has_one() -> None:
    assert label_of(FOX) == label_of(Taxon.of(FOX.lineage, FOX.common_name))
    assert label_of(FOX) != label_of(Taxon.of(("Plantae", *FOX.lineage[1:]), FOX.common_name))
    own = Taxon.of(FOX.lineage, "fox", "1F689929-883D-4DAE-958C-000000000000")
    assert label_of(own).startswith("1f689929-883d-4dae-958c-000000000000;mammalia;")


# -- files, places and failures ------------------------------------------------------------------------------------


def test_places_go_out_as_codes_and_rounded_as_asked() -> None:
    here = Place("us", "US-CA", 36.123456, -118.5)
    entry = only(stored("a.jpg", region(None), place=here), coordinate_precision=1)
    assert [entry[name] for name in ("country", "admin1_region", "latitude", "longitude")] == [
        "USA",
        "CA",
        36.1,
        -118.5,
    ]
    entry = only(stored("a.jpg", region(None), place=Place("Kenya", "Rift Valley", 1.0, None)))
    assert not {"country", "admin1_region", "latitude", "longitude"} & set(entry)


def test_failures_are_named_and_speciesnets_own_answers_are_written_back() -> None:
    own = stored("a.jpg", failure=Failure("decode", "it is cut short"))
    boxed = stored("b.jpg", failure=Failure("decode", "it is cut short"), detected=True)
    theirs = stored("c.jpg", failure=Failure("list", "SpeciesNet failed: DETECTOR"))
    found = {entry["filepath"]: entry["failures"] for entry in exported(own, boxed, theirs)}
    assert found == {"a.jpg": ["CLASSIFIER", "DETECTOR"], "b.jpg": ["CLASSIFIER"], "c.jpg": ["DETECTOR"]}


def test_empty_images_are_listed_and_open_ones_are_not() -> None:
    entry = only(stored("a.jpg", detected=True), stored("b.jpg", status="todo"))
    assert (entry["filepath"], entry["detections"]) == ("a.jpg", [])


def test_failures_that_are_no_files_are_left_out() -> None:
    row = stored("photos.csv#row=3", failure=Failure("list", "row 3: no image"))
    assert [entry["filepath"] for entry in exported(row, stored("a.jpg", region(None)))] == ["a.jpg"]


def test_frames_are_files_in_a_folder_of_the_videos_name() -> None:
    frames = [stored("cam/v.mp4", region(None), frame=number) for number in (0, 30)]
    assert [entry["filepath"] for entry in exported(*frames)] == [
        "cam/v.mp4/frame000000.jpg",
        "cam/v.mp4/frame000030.jpg",
    ]


def test_files_are_called_as_listed_or_relative_to_the_base_folder() -> None:
    items = [stored("/data/cam/a.jpg", region(None)), stored("cam/./b.jpg", region(None))]
    assert [entry["filepath"] for entry in exported(*items)] == ["/data/cam/a.jpg", "cam/b.jpg"]
    assert only(items[0], base_folder=Path("/data"))["filepath"] == "cam/a.jpg"
    with pytest.raises(UsageError, match="is not in the base folder"):
        exported(items[0], base_folder=Path("/elsewhere"))


def test_the_same_items_give_the_same_bytes_and_tiny_boxes_stay_inside() -> None:
    tiny = Region(0.99999, 0.5, 0.00001, 0.1, category="animal", confidence=0.5)
    items = [stored("é.jpg", region(tiny)), stored("b.jpg", region(None))]
    assert exported(*items)[0]["detections"][0]["bbox"] == [0.9999, 0.5, 0.0001, 0.1]
    first = Path("out.json").read_bytes()
    exported(*items)
    assert Path("out.json").read_bytes() == first


def test_data_read_from_a_speciesnet_file_are_written_back() -> None:
    person, vehicle = box("person", 0.8, 0.2, classified=False), box("vehicle", 0.7, 0.3, classified=False)
    items = [
        stored("cam/a.jpg", region(box()), region(person), region(vehicle)),
        stored("cam/b.jpg", detected=True),
        stored("cam/c.jpg", failure=Failure("list", "SpeciesNet failed: CLASSIFIER, DETECTOR")),
    ]  # fmt: skip
    exported(*items)
    again = list(SpeciesNetSource().items("out.json", ListingOptions()))
    assert [one.uri for one in again] == ["cam/a.jpg", "cam/b.jpg", "cam/c.jpg"]
    first = again[0]
    assert isinstance(first, MediaItem)
    assert [(r.category, r.xywh, r.classified) for r in first.regions] == [
        ("animal", [0.1, 0.2, 0.3, 0.4], True), ("person", [0.2, 0.2, 0.3, 0.4], False), ("vehicle", [0.3, 0.2, 0.3, 0.4], False),
    ]  # fmt: skip
    assert again[2].reason == "SpeciesNet failed: CLASSIFIER, DETECTOR"  # type: ignore[union-attr]


# -- the format's own programs -------------------------------------------------------------------------------------


def everything() -> list[Any]:
    """Return every kind of item that a run can hold."""
    person, vehicle = box("person", 0.8, 0.2, classified=False), box("vehicle", 0.7, 0.3, classified=False)
    rolled = decided("taxon", Candidate(DOGS, "family", 0.97))
    word = Candidate(Taxon(common_name="red car"), "label", 0.9)
    plant = Candidate(Taxon("Plantae", "Tracheophyta", "Magnoliopsida"), "class", 0.9)
    return [
        stored("cam/a.jpg", region(box()), region(person, decided("person")), region(vehicle), place=Place("USA", "CA", 36.5, -118)),
        stored("cam/b.jpg", region(box(), rolled), region(box(confidence=0.05, x=0.3, classified=False))),
        stored("cam/c.jpg", region(None)),
        stored("cam/d.jpg", region(None, decided("blank"))),
        stored("cam/e.jpg", region(box(), decided("unknown"))),
        stored("cam/f.jpg", region(box(), decided("taxon", Candidate(ANIMALS, "kingdom", 0.9)))),
        stored("cam/g.jpg", region(box(), decided("taxon", plant))),
        stored("cam/h.jpg", region(box(), decided("taxon", word), species=(word,))),
        stored("cam/i.jpg", detected=True),
        stored("cam/j.jpg", failure=Failure("decode", "it is cut short")),
        stored("cam/v.mp4", region(box()), frame=12),
    ]  # fmt: skip


@pytest.fixture
def speciesnet() -> Iterator[ModuleType]:
    """Load the speciesnet modules that read and combine files, without the imports of its package (torch, its detector)."""
    spec = importlib.util.find_spec("speciesnet")
    assert spec is not None, "the development dependency speciesnet is not installed"
    loaded = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "speciesnet"}
    for name in loaded:
        del sys.modules[name]
    package = ModuleType("speciesnet")
    package.__path__ = list(spec.submodule_search_locations or [])
    sys.modules["speciesnet"] = package
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "speciesnet"]:
        del sys.modules[name]
    sys.modules.update(loaded)


def test_speciesnet_itself_takes_our_file_for_its_own_and_leaves_only_failures_to_do(speciesnet: ModuleType) -> None:
    entries = exported(*everything())
    loading = import_module("speciesnet.utils")
    partial, todo = loading.load_partial_predictions("out.json", [{"filepath": entry["filepath"]} for entry in entries])
    assert todo == [{"filepath": "cam/j.jpg"}]
    assert [partial[entry["filepath"]] for entry in entries if "failures" not in entry] == [
        entry for entry in entries if "failures" not in entry
    ]


def test_speciesnets_ensemble_combines_our_file_again(speciesnet: ModuleType, tmp_path: Path) -> None:
    entries = exported(*everything())
    boxes = [one for entry in entries for one in entry.get("detections", []) if "raw_classifications" in one]
    labels = sorted({label for one in boxes for label in one["raw_classifications"]["classes"]})
    (tmp_path / "taxonomy.txt").write_text("\n".join([*labels, label_of(DOGS)]))
    (tmp_path / "geofence.json").write_text("{}")
    files = dict.fromkeys(("classifier", "classifier_labels", "detector"), "none")
    info = {"version": "ours", "type": "always_crop", **files, "taxonomy": "taxonomy.txt", "geofence": "geofence.json"}
    (tmp_path / "info.json").write_text(json.dumps(info))
    ensemble = import_module("speciesnet.ensemble").SpeciesNetEnsemble(str(tmp_path))
    results = {entry["filepath"]: entry for entry in entries}
    combined = ensemble.combine(list(results), results, results, {name: {} for name in results})
    said = {one["filepath"]: one for one in combined}
    assert said["cam/a.jpg"]["detections"][0]["processed_classification"]["class"] == label_of(FOX)
    assert said["cam/j.jpg"]["failures"] == ["CLASSIFIER", "DETECTOR"]
    assert all("detections" in one for name, one in said.items() if name != "cam/j.jpg")


def test_megadetectors_converter_reads_our_file_and_its_validator_finds_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from megadetector.utils.wi_taxonomy_utils import generate_md_results_from_predictions_json

    exported(*everything())
    found = generate_md_results_from_predictions_json("out.json", "md.json")
    assert "warning" not in capfd.readouterr().out.lower()
    images = {image["file"]: image for image in found["images"]}
    assert len(images) == 11
    (name, score), *_ = images["cam/b.jpg"]["detections"][0]["classifications"]
    assert (found["classification_categories"][name], score) == ("canidae family", 0.97)
    assert images["cam/d.jpg"]["detections"] == []
    assert images["cam/j.jpg"]["detections"] is None
    assert found["detection_categories"] == {"1": "animal", "2": "person", "3": "vehicle", "4": "unknown"}
