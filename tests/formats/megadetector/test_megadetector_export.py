"""MegaDetector files as output: the content for every kind of item and decision."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from megadetector_samples import BY_RANK, DOGS, FOX, Given, box, exported, region, run_of, stored

from bioclip_core.classify import Candidate
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.megadetector.write import MegaDetectorExporter
from bioclip_plugin.formats.shared.relative_names import CommonFolder
from bioclip_plugin.formats.shared.species_labels import description_of
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.store.records import StoredDecision


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def only(*items: Any, **options: Any) -> dict[str, Any]:
    (entry,) = exported(*items, **options)["images"]
    assert isinstance(entry, dict)
    return entry


def files(*uris: str, **options: Any) -> list[str]:
    return [entry["file"] for entry in exported(*map(stored, uris), **options)["images"]]


# -- boxes and names ---------------------------------------------------------------------------------------------------


def test_boxes_keep_category_confidence_and_place_and_have_the_candidates_as_classifications() -> None:
    person, low = box("person", 0.8, 0.2, classified=False), box(confidence=0.1, x=0.3, classified=False)
    found = exported(stored("a.jpg", region(box()), region(person), region(low), region(box("bird of prey", x=0.5))))
    (entry,) = found["images"]
    fox, wolf = (number for number, name in found["classification_categories"].items())
    assert entry == {
        "file": "a.jpg",
        "detections": [
            {
                "category": "1",
                "conf": 0.912,
                "bbox": [0.1, 0.2, 0.3, 0.4],
                "classifications": [[fox, 0.712], [wolf, 0.25]],
            },
            {"category": "2", "conf": 0.8, "bbox": [0.2, 0.2, 0.3, 0.4]},
            {"category": "1", "conf": 0.1, "bbox": [0.3, 0.2, 0.3, 0.4]},
            {
                "category": "4",
                "conf": 0.912,
                "bbox": [0.5, 0.2, 0.3, 0.4],
                "classifications": [[fox, 0.712], [wolf, 0.25]],
            },
        ],
    }
    assert found["detection_categories"] == {"1": "animal", "2": "person", "3": "vehicle", "4": "bird of prey"}
    assert found["classification_categories"] == {"0": "Vulpes fictus", "1": "Canis fictus"}
    descriptions = found["classification_category_descriptions"]
    assert descriptions["0"].split(";")[1:] == ["mammalia", "carnivora", "canidae", "vulpes", "fictus", "invented fox"]
    assert descriptions["1"].split(";")[1:] == ["mammalia", "carnivora", "canidae", "canis", "fictus", "canis fictus"]
    assert list(descriptions) == list(found["classification_categories"])


def test_candidates_are_of_the_asked_rank_and_no_more_than_asked_in_descending_order() -> None:
    many = [
        Candidate(Taxon(genus="Fictus", species=f"s{n}"), "species", p) for n, p in enumerate((0.1, 0.1004, 0.3, 0.2))
    ]
    (found,) = only(stored("a.jpg", region(box(), species=tuple(many))), top=3)["detections"]
    assert [p for _, p in found["classifications"]] == [0.3, 0.1, 0.1]
    (found,) = only(stored("a.jpg", region(box())), run=run_of(answer_settings={"rank": "family"}))["detections"]
    assert found["classifications"] == [["0", 0.97]]


def test_custom_labels_are_names_without_taxonomy() -> None:
    label = Candidate(Taxon(common_name="a red; car|van"), "label", 0.9)
    found = exported(
        stored("a.jpg", region(box(), label=(label,))), run=run_of(answer_settings={"rank": "label", "words": "w"})
    )
    assert found["classification_categories"] == {"0": "a red; car|van"}
    assert found["classification_category_descriptions"]["0"].split(";")[1:] == ["", "", "", "", "", "a red car/van"]


@pytest.mark.parametrize(
    ("taxon", "expected"),
    [
        (FOX, "mammalia;carnivora;canidae;vulpes;fictus;invented fox"),
        (DOGS, "mammalia;carnivora;canidae;;;canidae family"),
        (Taxon("Plantae", genus="Quercus", species="× schmittii"), ";;;quercus;×schmittii;quercus × schmittii"),
        (Taxon("Animalia", "Chordata"), ";;;;;chordata"),
        (Taxon("Plantae"), ";;;;;plantae"),
        (Taxon("Animalia", species="fictus"), ";;;;;fictus"),
    ],
)
def test_a_taxonomy_string_has_seven_parts_that_begin_with_an_id_and_the_class(taxon: Taxon, expected: str) -> None:
    number, _, rest = description_of(taxon).partition(";")
    assert len(number) == 36
    assert rest == expected
    assert description_of(taxon) == description_of(taxon)


# -- images without boxes, verdicts, failures --------------------------------------------------------------------------


def test_an_image_that_was_classified_as_a_whole_is_an_animal_of_confidence_1_all_over_it() -> None:
    (found,) = only(stored("a.jpg", region(None)))["detections"]
    assert (found["category"], found["conf"], found["bbox"]) == ("1", 1.0, [0, 0, 1, 1])
    assert [p for _, p in found["classifications"]] == [0.712, 0.25]


def test_an_image_in_which_a_detector_found_nothing_has_no_detections() -> None:
    assert only(stored("a.jpg", detected=True)) == {"file": "a.jpg", "detections": []}


RULE = ({"rule": "speciesnet", "did": "decided"},)


def test_verdicts_on_a_whole_image_are_categories_of_detection() -> None:
    def detections(verdict: Any, candidate: Candidate | None = None) -> Any:
        return only(stored("a.jpg", region(None, StoredDecision(verdict, candidate, None, RULE))))["detections"]

    assert detections("blank") == []
    whole = {"conf": 1.0, "bbox": [0, 0, 1, 1]}
    assert detections("person") == [{"category": "2", **whole}]
    assert detections("vehicle") == [{"category": "3", **whole}]
    assert detections("unknown") == [{"category": "1", **whole}]
    assert detections("taxon", BY_RANK["family"][0]) == [{"category": "1", **whole, "classifications": [["0", 0.97]]}]


def test_verdicts_on_a_box_keep_the_box_and_are_its_only_classification() -> None:
    def found(verdict: Any, of: Any, candidate: Candidate | None = None) -> tuple[list[str], Any]:
        content = exported(stored("a.jpg", region(of, StoredDecision(verdict, candidate, None, RULE))))
        names = content.get("classification_categories", {})
        (detection,) = content["images"][0]["detections"]
        assert detection["bbox"] == [0.1, 0.2, 0.3, 0.4]
        return [names[key] for key, _ in detection.get("classifications", [])], detection["category"]

    assert found("taxon", box(), BY_RANK["family"][0]) == (["Canidae"], "1")
    assert found("blank", box()) == (["blank"], "1")
    assert found("blank", box(confidence=0.05, classified=False)) == ([], "1")
    assert found("person", box()) == (["human"], "1")
    assert found("unknown", box()) == ([], "1")
    assert found("person", box("person", classified=False)) == ([], "2")
    assert found("vehicle", box("person", classified=False)) == (["vehicle"], "2")


def test_the_consensus_alone_leaves_the_candidates_as_the_model_gave_them() -> None:
    (found,) = only(stored("a.jpg", region(box(), StoredDecision("unknown", None))))["detections"]
    assert len(found["classifications"]) == 2


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Failure("list", "Failure image access"), "Failure image access"),
        (Failure("read", "no permission"), "image access failure: no permission"),
        (Failure("open", "no frames"), "image access failure: no frames"),
        (Failure("decode", "it is cut"), "image access failure: it is cut"),
        (Failure("encode", "out of memory"), "inference failure: out of memory"),
    ],
)
def test_a_failure_has_the_words_of_the_format_or_of_the_file_that_stated_it(failure: Failure, words: str) -> None:
    exporter, path = MegaDetectorExporter(), Path("out.json")
    exporter.write(path, Given([stored("a.jpg", failure=failure)]))
    assert json.loads(path.read_text())["images"] == [{"file": "a.jpg", "failure": words, "detections": None}]


def test_an_item_that_is_still_to_do_is_not_a_blank() -> None:
    entry = only(stored("a.jpg", status="todo"))
    assert entry == {"file": "a.jpg", "failure": "inference failure: not processed yet", "detections": None}


def test_entries_that_are_not_files_are_skipped_and_counted() -> None:
    trouble = [
        stored(uri, failure=Failure("list", "why"))
        for uri in ("md.json#images[3].detections[1]", "t.csv#row=7", "photos/folder")
    ]
    real = stored("photos/cam#1.jpg", failure=Failure("list", "image access failure"))
    found = exported(stored("photos/a.jpg", detected=True), *trouble, real)
    assert [entry["file"] for entry in found["images"]] == ["a.jpg", "cam#1.jpg"]
    assert found["info"]["bioclip_plugin"] | {} == {
        "run": 1, "answer_id": "a", "rule_id": "r", "base_folder": "photos", "items": 5, "files": 2, "failures": 1,
        "frames_left_out": 0,
    }  # fmt: skip


# -- frames ------------------------------------------------------------------------------------------------------------


def test_frames_of_one_video_are_one_entry() -> None:
    frames = [
        stored("v.mp4", region(box()), frame=20, metadata={"frame_rate": 29.97, "frames_processed": [0, 20, 40]}),
        stored("v.mp4", region(box(x=0.2)), frame=60, metadata={"frame_rate": 29.97}),
        stored("v.mp4", frame=80, failure=Failure("decode", "cut")),
    ]
    found = exported(stored("a.jpg", detected=True), *frames, stored("b.jpg", detected=True))
    assert [entry["file"] for entry in found["images"]] == ["a.jpg", "v.mp4", "b.jpg"]
    video = found["images"][1]
    assert (video["frame_rate"], video["frames_processed"]) == (29.97, [0, 20, 40, 60])
    assert [one["frame_number"] for one in video["detections"]] == [20, 60]
    assert found["info"]["bioclip_plugin"]["frames_left_out"] == 1


def test_a_video_that_failed_as_a_whole_is_a_failure_with_the_keys_that_a_video_needs() -> None:
    entry = only(stored("v.mp4", failure=Failure("list", "inference failure: no frames")))
    assert entry == {
        "file": "v.mp4", "frame_rate": 0, "frames_processed": [], "failure": "inference failure: no frames",
        "detections": None,
    }  # fmt: skip


# -- names of files ----------------------------------------------------------------------------------------------------


def test_files_are_relative_to_the_deepest_common_folder_or_to_the_one_given() -> None:
    assert files("p/cam1/a.jpg", "p/cam1/b.jpg") == ["a.jpg", "b.jpg"]
    assert files("p/cam1/a.jpg", "p/cam2/b.jpg") == ["cam1/a.jpg", "cam2/b.jpg"]
    assert files("./p/a.jpg", "p//b.jpg") == ["a.jpg", "b.jpg"]
    assert files("/data/cam1/a.jpg", "/data/cam2/b.jpg") == ["cam1/a.jpg", "cam2/b.jpg"]
    assert files("a.jpg") == ["a.jpg"]
    assert files("p/cam1/a.jpg", base_folder=Path("p")) == ["cam1/a.jpg"]
    assert files("p/cam1/a.jpg", base_folder=Path()) == ["p/cam1/a.jpg"]
    assert files("p/a.jpg", base_folder=Path.cwd()) == ["p/a.jpg"]
    assert files(str(Path.cwd() / "p" / "a.jpg"), base_folder=Path("p")) == ["a.jpg"]


def test_absolute_and_relative_files_meet_in_whole_paths() -> None:
    here = Path.cwd()
    assert files("p/a.jpg", str(here / "q" / "b.jpg")) == ["p/a.jpg", "q/b.jpg"]
    assert files("../x/a.jpg", "b.jpg") == ["x/a.jpg", f"{here.name}/b.jpg"]
    assert files("../x/a.jpg", "../y/b.jpg") == ["x/a.jpg", "y/b.jpg"]
    above = here.parent
    assert files("../../x/a.jpg", "../y/b.jpg") == ["x/a.jpg", f"{above.name}/y/b.jpg"]


def test_a_file_outside_the_given_folder_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"q/b\.jpg is not in the base folder p: give the folder that holds all"):
        files("p/a.jpg", "q/b.jpg", base_folder=Path("p"))


def test_a_folder_that_comes_late_counts_for_all_and_nothing_else_is_left_behind() -> None:
    assert files("p/c/a.jpg", "p/c/b.jpg", "p/d/e.jpg") == ["c/a.jpg", "c/b.jpg", "d/e.jpg"]
    assert files("p/c/a.jpg", "p/c/b.jpg", "p/ca.jpg") == ["c/a.jpg", "c/b.jpg", "ca.jpg"]
    assert files('p/"a\n,{.jpg', "p/b,.jpg") == ['"a\n,{.jpg', "b,.jpg"]
    assert [path.name for path in Path().iterdir()] == ["out.json"]


def test_names_that_are_not_utf_8_are_written_so_that_python_finds_the_file() -> None:
    assert files("p/x%E9.jpg", "p/100%2525.jpg") == ["x\udce9.jpg", "100%25.jpg"]
    assert (
        CommonFolder(["https://example.org/a.jpg"]).names()("https://example.org/a.jpg") == "https://example.org/a.jpg"
    )


# -- header and bytes --------------------------------------------------------------------------------------------------


def test_the_header_names_the_detector_the_classifier_and_the_time() -> None:
    info = exported(stored("a.jpg", region(box()), captured_at=datetime(2030, 1, 2, 3, 4, 5), metadata={"width": 640}))[
        "info"
    ]
    del info["bioclip_plugin"]
    assert info == {
        "format_version": "1.6",
        "detector": "md_v5a.0.0.pt",
        "detector_metadata": {"megadetector_version": "v5a.0.0", "typical_detection_threshold": 0.2},
        "classifier": "fake (bioclip-plugin)",
        "classification_completion_time": "2031-01-02 03:04:05",
        "classifier_metadata": {"typical_classification_threshold": 0.65},
    }
    assert exported(stored("a.jpg", region(None)))["info"]["detector"] == "unknown"


def test_an_entry_has_the_time_and_size_of_its_image() -> None:
    about = {"captured_at": datetime(2030, 1, 2, 3, 4, 5), "metadata": {"width": 640, "height": 480, "other": 1}}
    assert only(stored("a.jpg", detected=True, **about)) == {
        "file": "a.jpg", "detections": [], "width": 640, "height": 480, "datetime": "2030:01:02 03:04:05",
    }  # fmt: skip


def test_the_same_items_give_the_same_bytes_and_an_empty_run_is_a_file_too() -> None:
    items = [stored("a.jpg", region(box())), stored("b.jpg", region(None)), stored("c.jpg", detected=True)]
    exported(*items, path="one.json")
    exported(*items, path="two.json")
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    assert exported()["images"] == []
