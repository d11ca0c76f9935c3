"""iNat21 and LILA: JSON joined with files, and what is wrong with both in the field."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from published_layout_samples import FOLDER, OTHER, category, document, images, read, table

from bioclip_core.errors import SourceError, UsageError
from bioclip_training.published.known import recognise
from bioclip_training.published.layout import Implausible
from bioclip_training.published.reading import coco, hashed

CATEGORIES = [
    category(0, "Lumbricus terrestris", "Common Earthworm", FOLDER),
    category(1, "Accipiter badius", "Shikra", OTHER),
]


def inat(root: Path, **changes: object) -> Path:
    entries = [
        {"id": number, "file_name": f"train/{folder}/{name}.jpg", "license": 3, "rights_holder": "me",
         "date": "2019-01-01 10:00:00+00:00", "latitude": 43.1, "longitude": -8.1}
        for number, (folder, name) in enumerate([(FOLDER, "a"), (FOLDER, "b"), (OTHER, "c")])
    ]  # fmt: skip
    members: dict[str, object] = {
        "info": {}, "images": entries,
        "annotations": [{"id": n, "image_id": n, "category_id": int(n == 2)} for n in range(3)],
        "licenses": [{"id": 3, "name": "Attribution", "url": "https://creativecommons.org/licenses/by/4.0/"}],
        "categories": CATEGORIES,
    }  # fmt: skip
    document(root / "train.json", **{**members, **changes})
    images(root, *(str(entry["file_name"]) for entry in entries))
    return root


def test_licences_of_inat21_are_addresses_and_not_numbers(tmp_path: Path) -> None:
    rows, options = read(inat(tmp_path))
    assert [Path(row["record_id"]).stem for row in rows] == ["a", "b", "c"]
    assert {row["licence"] for row in rows} == {"https://creativecommons.org/licenses/by/4.0/"}
    assert [row["common_name"] for row in rows] == ["Common Earthworm", "Common Earthworm", "Shikra"]
    assert not options.findings
    assert not options.skipped


def test_images_that_were_lost_in_unpacking_are_counted_and_skipped(tmp_path: Path) -> None:
    (inat(tmp_path) / f"train/{FOLDER}/b.jpg").unlink()
    images(tmp_path, f"train/{OTHER}/new.jpg")
    rows, options = read(tmp_path)
    assert [Path(row["record_id"]).stem for row in rows] == ["a", "c"]
    assert next(options.skipped.lines()).startswith(f"rows without an image file: 1 (the first: train/{FOLDER}/b.jpg")
    assert list(options.findings.lines()) == [f"image files without a row: 1 (the first: train/{OTHER}/new.jpg)"]


def test_metadata_without_any_image_is_refused_unless_asked_for(tmp_path: Path) -> None:
    file = inat(tmp_path / "full") / "train.json"
    alone = tmp_path / "alone" / "train.json"
    alone.parent.mkdir()
    file.rename(alone)
    with pytest.raises(SourceError, match=r"none of the images of 3 rows is in .*missing_images: keep"):
        read(alone.parent)
    rows, _ = read(alone.parent, missing_images="keep")
    assert len(rows) == 3


def test_a_file_that_is_cut_short_is_named_with_its_place(tmp_path: Path) -> None:
    file = inat(tmp_path) / "train.json"
    file.write_text(file.read_text()[:-400])
    with pytest.raises(SourceError, match=r"train\.json is not a complete JSON file: line 1, column \d+"):
        read(tmp_path)


def test_images_of_the_public_test_have_no_annotation_and_are_skipped(tmp_path: Path) -> None:
    inat(
        tmp_path, annotations=[{"id": 0, "image_id": 0, "category_id": 0}, {"id": 1, "image_id": 1, "category_id": 99}]
    )
    rows, options = read(tmp_path)
    assert [Path(row["record_id"]).stem for row in rows] == ["a"]
    assert options.skipped.count("images without an annotation (the public test set has none)") == 1
    assert options.skipped.count("annotations of a category that is not listed") == 1


def test_an_image_in_the_folder_of_another_category_is_reported(tmp_path: Path) -> None:
    rows, options = read(inat(tmp_path, annotations=[{"id": n, "image_id": n, "category_id": 0} for n in range(3)]))
    assert [row["genus"] for row in rows] == ["Lumbricus"] * 3
    assert options.findings.count("images lie in the folder of another category than that of their annotation") == 1


def test_folders_without_json_beside_folders_with_json_are_read_from_their_names(tmp_path: Path) -> None:
    images(inat(tmp_path), f"val/{OTHER}/d.jpg")
    rows, _ = read(tmp_path)
    assert [(Path(row["record_id"]).stem, row["published_split"], row.get("common_name")) for row in rows] == [
        ("a", "train", "Common Earthworm"), ("b", "train", "Common Earthworm"), ("c", "train", "Shikra"), ("d", "val", None),
    ]  # fmt: skip


def test_images_of_one_name_in_several_classes_are_several_records(tmp_path: Path) -> None:
    uuid = "5a921187-19c7-8df4-8f4f-f31e78de5857"
    images(tmp_path, f"{FOLDER}/IMG_1.jpg", f"{OTHER}/IMG_1.jpg", f"{OTHER}/IMG_1.png", f"{OTHER}/{uuid}.jpg")
    assert [row["record_id"] for row in read(tmp_path)[0]] == [
        f"{FOLDER}/IMG_1.jpg", f"{OTHER}/IMG_1.jpg", f"{OTHER}/IMG_1.png", uuid,
    ]  # fmt: skip


def test_files_among_the_images_that_cannot_be_records_are_counted(tmp_path: Path) -> None:
    images(tmp_path, f"{FOLDER}/a.jpg", f"{FOLDER}/notes.txt", f"{FOLDER}/Thumbs.db", f"{FOLDER}/.a.jpg.swp")
    (tmp_path / FOLDER / "gone.jpg").symlink_to("nowhere.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path / FOLDER) + b"/lat\xfcn.jpg")).write_bytes(b"image")
    rows, options = read(tmp_path)
    assert [row["uri"] for row in rows] == [f"{FOLDER}/a.jpg"]
    assert list(options.skipped.lines()) == [
        f"{hashed.NO_FILE}: 1 (the first: {FOLDER}/gone.jpg)", f"{hashed.NOT_UTF8}: 1 (the first: {FOLDER}/lat\\xfcn.jpg)",
    ]  # fmt: skip
    assert next(options.findings.lines()) == f"{hashed.OTHER_FILES}: 2 (the first: {FOLDER}/Thumbs.db)"


def test_epithets_of_folders_may_have_underscores_and_ranks_may_be_empty(tmp_path: Path) -> None:
    images(tmp_path, "09999_Plantae__Liliopsida_Poales_Poaceae_Zea_mays_ssp/x.jpg")
    rows, _ = read(tmp_path)
    assert (rows[0]["species"], rows[0]["class"], rows[0].get("phylum")) == ("mays ssp", "Liliopsida", None)
    assert (rows[0]["inat21_cls_num"], rows[0]["inat21_cls_name"]) == (
        "9999",
        "Plantae__Liliopsida_Poales_Poaceae_Zea_mays_ssp",
    )


def test_entries_that_are_decoded_at_once_and_one_by_one_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images_of_many = [
        {"id": n, "file_name": f"train/{FOLDER}/{n}.jpg", "latitude": n, "rights_holder": 'ö \\ "x"'}
        for n in range(300)
    ]
    annotations = [{"id": n, "image_id": n, "category_id": 0} for n in range(300)]
    inat(tmp_path, images=images_of_many, annotations=annotations)
    texts: list[int] = []
    decoder = coco._decoder

    def counted(kind: type[object]) -> Callable[[str], list[object] | None]:
        decode = decoder(kind)
        return lambda text: texts.append(len(text)) or decode(text)  # type: ignore[func-returns-value]

    monkeypatch.setattr(coco, "_decoder", counted)
    at_once, _ = read(tmp_path, missing_images="keep")
    assert sum(texts) > 20_000
    assert len(at_once) == 300
    monkeypatch.setattr(coco, "_decoder", lambda _: lambda _: None)
    assert read(tmp_path, missing_images="keep")[0] == at_once


# -- LILA --------------------------------------------------------------------------------------------------------------


def lila(root: Path, names: list[str], annotations: list[dict[str, object]] | None = None, **image: object) -> Path:
    entries = [
        {"id": f"i{n}", "file_name": f"cam{n % 2}/{n}.jpg", "location": n % 2, "seq_id": "s0", "datetime": "2020-01-01 10:00:00",
         "width": 200, "height": 100, **image}
        for n in range(4)
    ]  # fmt: skip
    document(
        root / "set.json",
        images=entries,
        annotations=annotations
        if annotations is not None
        else [{"id": f"a{n}", "image_id": f"i{n}", "category_id": n % len(names)} for n in range(4)],
        categories=[{"id": n, "name": name} for n, name in enumerate(names)],
    )
    images(root, *(f"cam{n % 2}/{n}.jpg" for n in range(4)))
    return root


def test_categories_that_are_common_names_are_asked_for_and_not_guessed(tmp_path: Path) -> None:
    lila(tmp_path, ["empty", "red fox", "Vulpes vulpes"])
    with pytest.raises(
        Implausible, match=r"1 category of 2 are not names of species \(red fox\)\. State categories: common"
    ):
        read(tmp_path)
    rows, _ = read(tmp_path, categories="common")
    assert {row["common_name"] for row in rows} == {"red fox", "Vulpes vulpes"}
    assert {row.get("verbatim_name") for row in rows} == {None}


def test_the_taxonomy_mapping_of_lila_names_categories_of_its_data_set(tmp_path: Path) -> None:
    lila(tmp_path, ["Red_Fox", "lost animal", "human"])
    names = {
        "scientific_name": "vulpes vulpes",
        "common_name": "red fox",
        "family": "canidae",
        "species": "vulpes vulpes",
    }
    other = dict.fromkeys(names, "")
    table(
        tmp_path / "mapping.csv",
        [
            {"dataset_name": "ENA24", "query": "red_fox", "taxonomy_level": "species", **names},
            {"dataset_name": "Other", "query": "red_fox", "taxonomy_level": "species", **other},
        ],
    )
    with pytest.raises(SourceError, match=r"several data sets; state one as dataset: NAME \(ENA24, Other\)"):
        read(tmp_path, categories="mapping.csv")
    rows, options = read(tmp_path, categories="mapping.csv", dataset="ENA24")
    assert {(row["verbatim_name"], row["family"], row["common_name"], row["caption"]) for row in rows} == {
        ("vulpes vulpes", "canidae", "red fox", "Red_Fox")
    }
    assert options.skipped.count("annotations of categories that the mapping does not have") == 1
    assert options.skipped.count("annotations say that there is no animal or plant") == 1


def test_ids_that_are_numbers_in_one_array_and_texts_in_the_other_are_joined(tmp_path: Path) -> None:
    entries = [{"id": n, "file_name": f"{n}.jpg", "location": "x"} for n in range(3)]
    annotations = [{"id": n, "image_id": str(n), "category_id": float(n == 2)} for n in range(3)]
    document(
        tmp_path / "set.json", images=entries, annotations=annotations,
        categories=[{"id": "0", "name": "Vulpes vulpes"}, {"id": 1, "name": "Canis latrans"}],
    )  # fmt: skip
    images(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    rows, _ = read(tmp_path)
    assert [row["verbatim_name"] for row in rows] == ["Vulpes vulpes", "Vulpes vulpes", "Canis latrans"]


def test_boxes_become_fractions_and_impossible_ones_are_reported(tmp_path: Path) -> None:
    boxes = [[50, 25, 100, 50], [0, 0, 201, 100], [150, 0, 100, 50], [0, 0, 0, 10]]
    annotations = [{"id": f"a{n}", "image_id": "i0", "category_id": 0, "bbox": box} for n, box in enumerate(boxes)]
    rows, options = read(lila(tmp_path, ["Vulpes vulpes"], annotations))  # type: ignore[arg-type]
    found = [[row.get(name) for name in ("bboxX", "bboxY", "bboxWidth", "bboxHeight")] for row in rows]
    assert found == [[0.25, 0.25, 0.5, 0.5], [0, 0, 1, 1], [None] * 4, [None] * 4]
    assert [row["record_id"] for row in rows] == ["i0#a0", "i0#a1", "i0#a2", "i0#a3"]
    assert options.findings.count("boxes are outside their image or cannot be read; the record has no box") == 2
    assert options.skipped.count("images without an annotation") == 3


def test_a_sequence_id_that_two_cameras_use_is_two_events(tmp_path: Path) -> None:
    rows, _ = read(lila(tmp_path, ["Vulpes vulpes"]))
    assert [row["event_id"] for row in rows] == ["0/s0", "1/s0", "0/s0", "1/s0"]
    rows, _ = read(lila(tmp_path / "without", ["Vulpes vulpes"], seq_id=None))
    assert [row["event_id"] for row in rows] == ["0", "1", "0", "1"]


def test_two_annotations_of_one_category_are_one_record_and_labels_of_sequences_are_reported(tmp_path: Path) -> None:
    annotations = [{"id": n, "image_id": "i0", "category_id": 0, "sequence_level_annotation": True} for n in range(2)]
    rows, options = read(lila(tmp_path, ["Vulpes vulpes"], annotations))  # type: ignore[arg-type]
    assert [row["record_id"] for row in rows] == ["i0#0"]
    assert options.findings.count("annotations are of a whole sequence, not of the single image") == 2
    assert (
        options.findings.count("images have several annotations of one category without a box; they are one record")
        == 1
    )


def test_annotations_without_image_or_category_are_skipped_with_their_reason(tmp_path: Path) -> None:
    annotations = [
        {"id": 0, "image_id": "i0", "category_id": 0}, {"id": 1, "image_id": "gone", "category_id": 0},
        {"id": 2, "image_id": "i1", "category_id": 7}, {"id": 3, "image_id": ["i2"], "category_id": 0},
    ]  # fmt: skip
    rows, options = read(lila(tmp_path, ["Vulpes vulpes"], annotations))  # type: ignore[arg-type]
    assert len(rows) == 1
    assert options.skipped.count("annotations of an image that is not listed") == 1
    assert options.skipped.count("annotations of a category that is not listed") == 1
    assert options.skipped.count("entries of the JSON file cannot be read") == 1


def test_arrays_in_another_order_are_recognised_and_read(tmp_path: Path) -> None:
    members = json.loads((lila(tmp_path, ["Vulpes vulpes"]) / "set.json").read_text())
    document(tmp_path / "set.json", **{name: members[name] for name in ("categories", "annotations", "images")})
    rows, _ = read(tmp_path)
    assert len(rows) == 4


def test_several_files_and_files_of_other_programs_are_not_mixed_up(tmp_path: Path) -> None:
    lila(tmp_path, ["Vulpes vulpes"])
    (tmp_path / "second.json").write_text((tmp_path / "set.json").read_text())
    with pytest.raises(SourceError, match=r"holds several such files \(second\.json, set\.json\)"):
        read(tmp_path)
    document(
        tmp_path / "md" / "md.json",
        images=[{"file": "a.jpg", "detections": []}],
        detection_categories={"1": "animal"},
        info={},
    )
    with pytest.raises(SourceError, match="has no known layout"):
        recognise(tmp_path / "md")
    with pytest.raises(UsageError, match="option without_taxon: 'drop' of layout lila is not one of skip, keep"):
        read(tmp_path / "set.json", without_taxon="drop")
