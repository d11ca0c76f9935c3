"""Stage ``duplicates``: which record stays, which labels contradict each other, and which images belong to one group."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from catalog_samples import picture
from imaging_samples import encoded, given_labels, given_records, label, put, record, result
from PIL import Image, ImageEnhance

from bioclip_core.errors import UsageError
from bioclip_training.curation.configuration import Curation, DuplicatesConfig, SourceConfig
from bioclip_training.curation.imaging.deciding import OTHER_LABEL, OTHER_OBSERVATION, OTHER_TIME, SAME_ENCOUNTER
from bioclip_training.curation.imaging.duplicates import CONFLICT, EQUAL, NEAR, DuplicatesStage
from bioclip_training.curation.imaging.images import ImagesStage
from bioclip_training.curation.manifests import StageManifest

LYNX, WOLF = "Lynx fictus", "Canis fictus"


class Collection:
    """Sources a to c with images and names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, dict[str, Any]] = {}
        self.labels: list[dict[str, Any]] = []

    def add(
        self, name: str, image: Image.Image | bytes, label_name: str = LYNX, kind: str = "PNG", **cells: Any
    ) -> None:
        """Add a record; its source is the first letter of its name."""
        source, uri = name[0], cells.pop("uri", f"{name}.{kind.lower()}")
        data = image if isinstance(image, bytes) else encoded(image, kind)
        put(self.folder / "sources" / source / uri, data)
        self.records[name] = record(source, name, uri, **cells)
        self.labels.append(label(self.records[name], label_name))

    def found(self, **options: Any) -> dict[str, dict[str, Any]]:
        """Return the results by the names of the records, with names in place of keys."""
        sources = {name[0]: SourceConfig(self.folder / "sources" / name[0]) for name in self.records}
        self.config = Curation(self.folder / "out", sources, **options)
        stages = [given_records(*self.records.values()), ImagesStage(), given_labels(*self.labels), DuplicatesStage()]
        by_key = result(self.config, stages)
        names = {row["key"]: name for name, row in self.records.items()}
        keys = ("exact_group", "near_group", "duplicate_of")
        return {names[key]: {**row, **{name: names.get(row[name], "") for name in keys}} for key, row in by_key.items()}

    def manifest(self) -> StageManifest:
        found = StageManifest.read(self.config.output / "duplicates")
        assert found is not None
        return found

    def dropped(self) -> Mapping[str, int]:
        return {entry.reason: entry.count for entry in self.manifest().dropped}


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection(tmp_path)


def staying(found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the record in whose place each duplicate is."""
    return {name: row["duplicate_of"] for name, row in sorted(found.items()) if row["duplicate_of"]}


def test_of_equal_bytes_the_better_label_stays_and_with_a_precedence_its_source(collection: Collection) -> None:
    collection.add("a1", picture(1), "Lynx")
    collection.add("b1", picture(1), LYNX)
    collection.add("b2", picture(1), LYNX)
    collection.add("c1", picture(1), "")
    collection.add("c2", picture(2), LYNX)
    found = collection.found()
    best = min(("b1", "b2"), key=lambda name: collection.records[name]["key"])
    other = "b2" if best == "b1" else "b1"
    assert staying(found) == {"a1": best, other: best, "c1": best}
    assert collection.dropped() == {EQUAL: 3}
    assert {row["near_group"] for name, row in found.items() if name != "c2"} == {found["a1"]["exact_group"]}
    assert found["c2"]["near_group"] == "c2"
    assert [note for note in collection.manifest().notes if "no precedence of sources is given" in note]
    found = collection.found(precedence=("c", "a", "b"))
    assert staying(found) == {"b1": "a1", "b2": "a1", "c1": "a1"}  # a record without a label never stays for one with


def test_the_larger_image_stays(collection: Collection) -> None:
    small = picture(1, (400, 320))
    collection.add("a1", small.resize((200, 160)), kind="JPEG")
    collection.add("b1", small)
    assert staying(collection.found()) == {"a1": "b1"}
    assert collection.dropped() == {NEAR: 1}
    assert collection.found()["a1"]["duplicate_kind"] == "near"


def test_contradicting_labels_are_left_out_unless_a_precedence_decides(collection: Collection) -> None:
    collection.add("a1", picture(1), LYNX)
    collection.add("b1", picture(1), WOLF)
    collection.add("c1", picture(1), "Canis")
    found = collection.found()
    assert staying(found) == {}
    assert {name: row["conflict"] for name, row in found.items()} == dict.fromkeys(
        ("a1", "b1", "c1"), found["a1"]["conflict"]
    )
    assert found["a1"]["conflict"].startswith("equal bytes are labelled ")
    assert collection.dropped() == {CONFLICT: 3}
    found = collection.found(precedence=("b", "c", "a"))
    assert staying(found) == {"a1": "b1", "c1": "b1"}
    assert {name: row["conflict"] for name, row in found.items()} == {
        "a1": "Lynx fictus, but Canis fictus in b, which counts more", "b1": "", "c1": "",
    }  # fmt: skip
    assert collection.dropped() == {CONFLICT: 1, EQUAL: 1}


def test_copies_of_one_published_original_are_compared_like_equal_bytes(collection: Collection) -> None:
    photo = picture(1, (320, 240))
    file = encoded(photo, "JPEG")
    original = {"published_original_md5": hashlib.md5(file).hexdigest()}
    collection.add("a1", file, LYNX)
    collection.add("b1", photo.resize((160, 120)), WOLF, **original)  # fetched, made smaller and kept as pixels
    collection.add("b2", photo.crop((160, 0, 320, 240)), WOLF, **original)  # another animal of the photograph
    collection.add("c1", photo, "Canis", published_original_md5="0" * 32)  # another file
    found = collection.found()
    assert staying(found) == {}
    assert {name: row["conflict"] for name, row in found.items()} == {
        **dict.fromkeys(("a1", "b1"), "copies of one original are labelled Canis fictus and Lynx fictus"), "b2": "", "c1": "",
    }  # fmt: skip
    assert {row["near_group"] for row in found.values()} == {found["a1"]["near_group"]}
    assert collection.dropped() == {CONFLICT: 2}
    assert collection.manifest().counts["images that were made of the file of another one, by published hashes"] == 1
    collection.labels[1] = label(collection.records["b1"], LYNX)
    assert {name: row["duplicate_kind"] for name, row in collection.found().items() if row["duplicate_of"]} == {
        "b1": "near"
    }


def test_one_photo_under_two_observations_of_the_preferred_source_decides_nothing(collection: Collection) -> None:
    collection.add("a1", picture(1), LYNX)
    collection.add("a2", picture(1), WOLF)
    collection.add("b1", picture(1), LYNX)
    assert staying(collection.found(precedence=("a", "b"))) == {}
    assert collection.dropped() == {CONFLICT: 3}


def test_a_kingdom_tells_homonyms_apart_and_a_family_of_another_classification_does_not(collection: Collection) -> None:
    collection.add("a1", picture(1), LYNX)
    collection.add("b1", picture(1), LYNX)
    collection.labels[0]["family"], collection.labels[1]["family"] = "Felidae", "Pantheridae"
    assert len(staying(collection.found())) == 1
    collection.labels[1]["kingdom"] = "Plantae"
    assert staying(collection.found()) == {}
    assert collection.dropped() == {CONFLICT: 2}


def test_boxes_of_one_image_are_no_duplicates_but_one_group(collection: Collection) -> None:
    both = Image.new("RGB", (160, 80))
    both.paste(picture(4, (80, 80)), (0, 0))
    both.paste(picture(4, (80, 80)), (80, 0))
    for name, left, species in (("a1", 0.0, LYNX), ("a2", 0.5, WOLF), ("b1", 0.50001, WOLF)):
        collection.add(name, both, species, uri="x.png", box=(left, 0.0, 0.5, 1.0))
    found = collection.found(precedence=("a", "b"))
    assert staying(found) == {"b1": "a2"}
    assert len({row["near_group"] for row in found.values()}) == 1
    assert found["a1"]["exact_group"] != found["a2"]["exact_group"]


def copies(image: Image.Image) -> dict[str, bytes]:
    """Return copies of an image as they are found in the field."""
    width, height = image.size
    margin = (round(0.03 * width), round(0.03 * height), round(0.97 * width), round(0.97 * height))
    return {
        "b-half": encoded(image.resize((width // 2, height // 2)), "JPEG", quality=85),
        "b-recompressed": encoded(image, "JPEG", quality=35),
        "b-cropped": encoded(image.crop(margin), "JPEG", quality=90),
        "b-brighter": encoded(ImageEnhance.Brightness(image).enhance(1.15), "JPEG", quality=90),
        "b-darker": encoded(ImageEnhance.Brightness(image).enhance(0.85), "JPEG", quality=90),
        "b-grey": encoded(image.convert("L"), "JPEG", quality=90),
        "b-webp": encoded(image, "WEBP", quality=80),
        "b-squashed": encoded(image.resize((224, 224)), "JPEG", quality=90),
        "b-profile": encoded(image.convert("RGBA"), "PNG"),
    }


def test_near_copies_are_found_whatever_was_done_to_them(collection: Collection) -> None:
    image = picture(7, (320, 240))
    collection.add("a1", image)
    for name, data in copies(image).items():
        collection.add(name, data)
    for seed in range(20, 30):
        collection.add(f"a{seed}", picture(seed, (320, 240)))
    found = collection.found(precedence=("a", "b"))
    assert staying(found) == dict.fromkeys(copies(image), "a1")
    assert {name for name, row in found.items() if row["near_group"] == found["a1"]["near_group"]} == {
        "a1",
        *copies(image),
    }


def test_photographs_of_one_encounter_stay_apart_in_one_group(collection: Collection) -> None:
    image = picture(7, (320, 240))
    moved = image.copy()
    moved.paste((250, 250, 250), (44, 42, 56, 50))
    collection.add("a1", image, event_id="e1")
    collection.add("a2", moved, event_id="e1")
    found = collection.found()
    assert staying(found) == {}
    assert len({row["near_group"] for row in found.values()}) == 1
    assert collection.manifest().counts[SAME_ENCOUNTER] == 1
    collection.records["a2"]["event_id"] = ""
    assert len(staying(collection.found())) == 1
    for name, second in (("a1", "01"), ("a2", "02")):
        collection.records[name]["event_date"] = f"2024-05-01T10:00:{second}"
    assert staying(collection.found()) == {}
    assert collection.manifest().counts[OTHER_TIME] == 1
    collection.records["a2"]["event_date"] = "2024-05-03T18:00:00"  # another day: a copy with a date of its own
    assert len(staying(collection.found())) == 1


def test_plates_of_different_specimens_of_one_source_stay_apart_unless_they_are_nearly_equal(
    collection: Collection,
) -> None:
    image = picture(7, (320, 240))
    collection.add("a1", image, observation_id="s1")
    collection.add("a2", encoded(image, "JPEG", quality=90), observation_id="s2")
    collection.add("a3", encoded(image.crop((11, 7, 311, 233)), "JPEG", quality=80), observation_id="s3")
    collection.add("b1", encoded(image.crop((11, 7, 311, 233)), "PNG"), observation_id="s4")
    found = collection.found(duplicates=DuplicatesConfig(distance=8), precedence=("a", "b"))
    assert staying(found) == {"a2": "a1", "b1": "a3"} or staying(found) == {"a1": "a2", "b1": "a3"}
    assert len({row["near_group"] for row in found.values()}) == 1
    assert collection.manifest().counts[OTHER_OBSERVATION] >= 1


def test_plates_of_two_species_that_look_alike_stay_apart_in_one_group(collection: Collection) -> None:
    collection.add("a1", picture(7), LYNX)
    collection.add("b1", encoded(picture(7), "JPEG", quality=60), WOLF)
    found = collection.found()
    assert staying(found) == {}
    assert found["a1"]["near_group"] == found["b1"]["near_group"]
    assert collection.manifest().counts[OTHER_LABEL] == 1


def test_equal_duplicates_of_a_near_duplicate_point_to_the_record_that_stays(collection: Collection) -> None:
    image = picture(7, (320, 240))
    collection.add("a1", image)
    small = encoded(image.resize((160, 120)), "JPEG")
    collection.add("b1", small)
    collection.add("c1", small)
    assert staying(collection.found()) == {"b1": "a1", "c1": "a1"}


def test_blank_images_are_duplicates_by_their_bytes_only(collection: Collection) -> None:
    collection.add("a1", Image.new("RGB", (50, 40), "white"))
    collection.add("b1", Image.new("RGB", (60, 40), "white"))
    collection.add("b2", Image.new("RGB", (60, 40), "white"))
    found = collection.found()
    assert set(staying(found)) < {"b1", "b2"}
    assert found["a1"]["near_group"] == "a1"


def test_unreadable_files_of_equal_bytes_are_no_duplicates(collection: Collection) -> None:
    for name in ("a1", "b1"):
        collection.add(name, b"<html>not found</html>")
    found = collection.found()
    assert staying(found) == {}
    assert found["a1"]["near_group"] == "a1"


def test_without_near_only_equal_bytes_are_found(collection: Collection) -> None:
    collection.add("a1", picture(1))
    collection.add("b1", picture(1), kind="WEBP")
    collection.add("c1", picture(1))
    assert set(staying(collection.found(duplicates=DuplicatesConfig(near=False)))) <= {"a1", "c1"}


def test_a_group_distance_below_the_distance_is_refused() -> None:
    with pytest.raises(UsageError, match="group_distance 8 is below distance 10"):
        DuplicatesConfig(distance=10, group_distance=8)
