"""Readers of evaluation sets: the published layouts, and folders that are not whole."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from suite_samples import awa2, class_folders, nabirds, newt, paint, rare_species, read, write_table

from bioclip_core.errors import DataError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.taxonomy import Taxon
from bioclip_training.suites.images import BinaryTask, MissingSetError, SetImages
from bioclip_training.suites.measuring import NOT_COMPARABLE
from bioclip_training.suites.names import SET_NAMES, SUITES
from bioclip_training.suites.reading import NOT_THERE
from bioclip_training.suites.reading_tasks import TRAITS, known_classes
from bioclip_training.suites.sets import SETS, chosen_sets
from bioclip_training.suites.sizes import size_remarks

SNOW_LEOPARD = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "uncia")
MACAW = ("Animalia", "Chordata", "Aves", "Psittaciformes", "Psittacidae", "Ara", "ambiguus")

TASK = BinaryTask("age", "age", np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, bool))

ON_DISK = [
    # root below the layouts, set, images, classes, groups, first class
    ("eval", "rare-species", 48, 6, 48, "Sphyrna tiburo"),
    ("eval", "nabirds", 48, 6, 48, "Great Crested Flycatcher"),
    ("eval", "plankton", 48, 6, 48, "Ciliate_mix"),
    ("eval", "insects", 48, 6, 48, "Les Rhingies (Rhingia)"),
    ("eval", "insects-2", 48, 6, 48, "sericaorient alismots chulsky"),
    ("eval", "plantnet", 48, 6, 48, "Aegopodium_podagraria"),
    ("eval", "fungi", 48, 6, 48, "Mycena epipterygia (Scop.) Gray"),
    ("eval", "plantvillage", 48, 6, 48, "Pepper_bell___Bacterial_spot"),
    ("eval", "medicinal-leaf", 48, 6, 48, "Jasminum (Jasmine)"),
    ("eval", "plantdoc-meta-album", 48, 6, 48, "Blueberry leaf"),
    ("rs-hyphen", "rare-species", 12, 2, 12, "Ara ambiguus"),
    ("rare-species-hf", "rare-species", 12, 2, 12, "Ara ambiguus"),
    ("nabirds-original", "nabirds", 8, 2, 8, "Oak Titmouse"),
    ("meta-album-original", "insects-2", 10, 2, 10, "Lycorma delicatula"),
    ("birds525", "birds-525", 10, 2, 10, "ABBOTTS BABBLER"),
    ("idle-oo", "camera-traps-ena24", 10, 2, 5, "Vulpes vulpes"),
    ("newt", "newt", 24, 2, 24, "ml_age_coopers_hawk"),
    ("fishnet", "fishnet", 12, 9, 1, "Pomacentrus moluccensis"),
    ("herbarium19", "herbarium-19", 6, 2, 6, "0"),
    ("plantdoc", "plantdoc", 16, 2, 16, "Apple Scab Leaf"),
]  # fmt: skip


@pytest.mark.shared_data
@pytest.mark.parametrize(("root", "name", "images", "classes", "groups", "first"), ON_DISK, ids=str)
def test_each_published_layout_is_read_whole(
    root: str, name: str, images: int, classes: int, groups: int, first: str
) -> None:
    found, findings = read(name, Path(os.environ["BIOCLIP_DATA"]) / "data" / "papers_layouts" / root)
    assert len(found) == images
    assert (len(found.tasks) or len(found.attributes) or len(found.classes)) == classes
    assert len({*found.groups}) == (groups if found.groups else 0) or groups == images
    assert (found.tasks[0].name if found.tasks else found.classes[0]) == first
    assert not findings


@pytest.mark.shared_data
def test_taxa_and_common_names_of_the_hubs_folders_are_those_of_its_catalog() -> None:
    layouts = Path(os.environ["BIOCLIP_DATA"]) / "data" / "papers_layouts"
    found, _ = read("rare-species", layouts / "rare-species-hf")
    assert found.taxa == (Taxon.of(MACAW, "great green macaw"), Taxon.of(SNOW_LEOPARD, "snow leopard"))
    hyphens, _ = read("rare-species", layouts / "rs-hyphen")
    assert hyphens.taxa == (Taxon.of(MACAW), Taxon.of(SNOW_LEOPARD)), "no catalog is beside these folders"


def test_each_name_of_a_suite_is_a_set() -> None:
    assert [one.name for one in SETS if one.name not in SET_NAMES] == []
    assert len(SETS) == len(SET_NAMES)
    assert [one.name for one in chosen_sets(["bioclip"])] == list(SUITES["bioclip"])
    with pytest.raises(UsageError, match=r"suite 'rare_species': known are .*; did you mean rare-species\?"):
        chosen_sets(["rare_species"])


def test_ranks_of_rare_species_are_read_and_its_column_class_is_the_word(tmp_path: Path) -> None:
    rare_species(tmp_path, [(SNOW_LEOPARD, "snow leopard", "red", 2)])
    found, _ = read("rare-species", tmp_path)
    assert found.classes == ("Panthera uncia",)
    assert found.taxa == (Taxon.of(SNOW_LEOPARD, "snow leopard"),)


def test_missing_doubled_and_unlisted_images_are_counted_with_the_first_example(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red bird", "red", 3)])
    folder = root / "nabirds"
    paint(folder / "extra.png", "blue")
    paint(folder / "gone .png", "blue")
    (folder / "._0000.png").write_bytes(b"not an image: macOS keeps attributes of 0000.png here")
    rows = [
        {"filepath": name, "class": "red bird"} for name in ("0000.png", "0000.png", "gone.png", "0001.png", "0002.png")
    ]
    write_table(folder / "metadata.csv", rows)
    found, findings = read("nabirds", root)
    assert found.uris == ("0000.png", "0001.png", "0002.png")
    assert list(findings.lines()) == [
        "images are listed more than once with one class; the first row counts: 1 (the first: 0000.png)",
        "images of the annotation file are not in the folder; they are left out: 1 (the first: gone.png; "
        f"{str(folder / 'gone .png')!r} exists, whose name differs only in blanks: correct the name, or rename the file)",
        "images in the folder are not in the annotation file; they are not used: 2 (the first: extra.png)",
    ]


def test_rows_without_an_image_or_a_class_are_counted_by_their_number_and_classes_without_images_by_their_name(
    tmp_path: Path,
) -> None:
    root = nabirds(tmp_path, [("red bird", "red", 2)])
    listed = [
        ("", "red bird"),
        ("0000.png", "red bird"),
        ("0001.png", ""),
        ("", "blue bird"),
        ("gone.png", "lost bird"),
    ]
    rows = [{"filepath": name, "class": word} for name, word in listed]
    write_table(root / "nabirds" / "metadata.csv", rows)
    found, findings = read("nabirds", root)
    assert (found.uris, found.classes) == (("0000.png",), ("red bird",))
    assert list(findings.lines())[:4] == [
        "rows name no image; they are left out: 2 (the first: metadata.csv, row 1)",
        "rows have no class; they are left out: 1 (the first: metadata.csv, row 3: 0001.png)",
        "images of the annotation file are not in the folder; they are left out: 1 (the first: gone.png)",
        "classes have no image in the folder; they are left out, of the candidates too: 1 (the first: lost bird)",
    ]
    write_table(root / "nabirds" / "metadata.csv", [rows[0], rows[2]])
    with pytest.raises(
        DataError,
        match=r"metadata\.csv lists no image with a class \(rows name no image; .* row 1\); rows have no class",
    ):
        read("nabirds", root)


def test_an_image_with_two_classes_is_refused(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red bird", "red", 1)])
    rows = [{"filepath": "0000.png", "class": word} for word in ("red bird", "blue bird")]
    write_table(root / "nabirds" / "metadata.csv", rows)
    with pytest.raises(
        DataError, match=r"the image 0000\.png has the classes 'red bird' and 'blue bird'; remove one of the rows"
    ):
        read("nabirds", root)


def test_a_set_without_its_images_and_a_root_without_the_set_say_what_is_needed(tmp_path: Path) -> None:
    root = nabirds(tmp_path, [("red bird", "red", 2)])
    for image in (root / "nabirds").glob("*.png"):
        image.unlink()
    with pytest.raises(
        MissingSetError, match=r"none of 2 images of .*metadata\.csv is in .*nabirds; the first is 0000\.png"
    ):
        read("nabirds", root)
    with pytest.raises(
        MissingSetError,
        match=r"no folder of NeWT: expected newt with newt2021_labels\.csv .*; get it from https://github.com/",
    ):
        read("newt", root)
    with pytest.raises(MissingSetError, match=r"expected herbarium19 .* with small-train/CLASS; get it from"):
        read("herbarium-19", root)


def test_images_of_camera_traps_are_found_in_the_folder_of_their_table_and_belong_to_sequences(tmp_path: Path) -> None:
    rows = []
    for number in range(3):
        paint(tmp_path / "idle-oo" / "data" / "test" / "island" / f"{number}.png", "red", number)
        rows.append(
            {
                "filepath": f"{number}.png",
                "class": "Rattus rattus",
                "location_id": "a",
                "sequence_id": f"s{number // 2}",
            }
        )
    write_table(tmp_path / "idle-oo" / "island-balanced.csv", rows)
    found, _ = read("camera-traps-island", tmp_path)
    assert found.root == tmp_path / "idle-oo" / "data" / "test" / "island"
    assert (len(found), len({*found.groups}), found.grouped_by) == (3, 2, "camera sequence")


def test_a_set_in_two_folders_is_refused(tmp_path: Path) -> None:
    nabirds(tmp_path, [("red bird", "red", 1)])
    (tmp_path / "nabird").mkdir()
    write_table(tmp_path / "nabird" / "metadata.csv", [{"filepath": "x.png", "class": "a"}])
    with pytest.raises(
        UsageError, match=r"several folders hold it .* give one of them as --root, with --suite nabirds"
    ):
        read("nabirds", tmp_path)


def test_other_folders_beside_those_of_species_are_counted(tmp_path: Path) -> None:
    names = (
        "Animalia-Chordata-Mammalia-Diprotodontia-Phalangeridae-Spilocuscus-novae-angliae",
        "notes of the last trip",
    )
    for number, name in enumerate(names):
        paint(tmp_path / name / f"1_{number}_eol.png", "red", number)
    found, findings = read("rare-species", tmp_path)
    assert found.classes == ("Spilocuscus novae-angliae",)
    assert list(findings.lines()) == ["folders whose name is not seven ranks: 1 (the first: notes of the last trip)"]


def test_images_of_nabirds_without_a_named_class_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "nabirds"
    for name in ("a", "b"):
        paint(folder / "images" / "0817" / f"{name}.jpg", "red")
    lists = {
        "images": "a 0817/a.jpg\nb 0817/b.jpg",
        "image_class_labels": "a 817\nb 818",
        "classes": "817 Oak Titmouse (Adult)",
    }
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text(f"{lines}\n", "utf-8")
    found, findings = read("nabirds", tmp_path)
    assert (found.classes, found.uris) == (("Oak Titmouse (Adult)",), ("images/0817/a.jpg",)), (
        "the plumage is part of the class"
    )
    assert "classes without a name in classes.txt: 1 (the first: class 818, 0817/b.jpg)" in findings.lines()


def test_a_set_without_some_of_its_listed_images_is_not_comparable_and_one_of_unknown_size_neither() -> None:
    def images(count: int) -> SetImages:
        return SetImages(Path(), tuple(map(str, range(count))), np.zeros(count, np.int64), ("a",), tasks=(TASK,) * 164)

    (wanted,), findings = chosen_sets(["newt"]), Findings()
    (unknown,) = size_remarks(wanted, images(5), findings)
    assert unknown.startswith("size unknown: the published number of images is not recorded here")
    findings.add(NOT_THERE, "x.jpg", 3)
    (lacking,) = size_remarks(wanted, images(5), findings)
    assert lacking == f"3 of 8 listed images not in the folder: {NOT_COMPARABLE}"
    (camera_traps,) = chosen_sets(["camera-traps-island"])
    assert size_remarks(camera_traps, images(310), Findings()) == []
    assert sum(one.images for one in chosen_sets(["camera-traps"])) == 2586, "as the card of IDLE-OO has it"


def test_images_of_newt_are_shared_by_tasks_and_doubled_rows_are_counted(tmp_path: Path) -> None:
    root = newt(tmp_path, {"age": [("red", 0, "train"), ("green", 1, "test")]})
    rows = [
        ("image-0000", "age", 0, "train"), ("image-0000", "age", 0, "train"), ("image-0000", "health", 1, "test"),
        ("image-0009", "age", 1, "test"), ("image-0009", "context", 1, "test"), ("", "age", 1, "test"),
    ]  # fmt: skip
    write_table(
        root / "newt" / "newt2021_labels.csv",
        [dict(zip(("id", "task", "label", "split"), row, strict=True)) for row in rows],
    )  # fmt: skip
    found, findings = read("newt", root)
    assert found.uris == ("newt2021_images/image-0000.jpg",)
    assert [(task.name, task.rows_T.tolist()) for task in found.tasks] == [("age", [0]), ("health", [0])]
    assert [line.partition(": ")[2] for line in findings.lines()] == [
        "1 (the first: row 2: image-0000, age)",
        "1 (the first: newt2021_labels.csv, row 6)",
        "2 (the first: newt2021_images/image-0009.jpg)",
        "1 (the first: newt2021_images/image-0001.jpg)",
        "1 (the first: context)",
    ]
    write_table(
        root / "newt" / "newt2021_labels.csv", [{"id": "image-0000", "task": "age", "label": 2, "split": "train"}]
    )
    with pytest.raises(DataError, match="row 1: label '2' and split 'train'; 0 or 1, and train or test are allowed"):
        read("newt", root)


def fishnet(root: Path, **changed: object) -> Path:
    traits = dict(zip(TRAITS, ("benthic", 1, 0, 0, 0, 0, 0, 1, 0), strict=True))
    for split in ("train", "test"):
        paint(root / "fishnet" / "Image_Library" / "Gobiidae" / f"{split}.jpg", "red")
        rows = [
            {"image": f"Gobiidae/{split}.jpg", "Folder": "Gobiidae", "Genus": "Gobius", "Species": split, **traits},
            {
                "image": "Gobiidae/unknown.jpg",
                "Folder": "Gobiidae",
                "Genus": "Gobius",
                "Species": split,
                **traits,
                "Polar": "",
            },
        ]
        rows[0].update(changed)
        write_table(root / "fishnet" / f"{split}.csv", rows)
    return root


def test_traits_of_fishnet_are_found_by_their_headings_and_rows_without_one_are_counted(tmp_path: Path) -> None:
    found, findings = read("fishnet", fishnet(tmp_path))
    assert found.target_NA.tolist() == [[0, 1, 0, 0, 0, 0, 0, 1, 0]] * 2
    assert found.groups == ("Gobius train", "Gobius test")
    assert list(findings.lines()) == [
        "rows lack one of the nine traits; they are left out, as in the published code: 2 (the first: train.csv, row 2)"
    ]
    cloned = tmp_path / "fishnet"
    (cloned / "anns").mkdir()
    for split in ("train", "test"):
        (cloned / f"{split}.csv").rename(cloned / "anns" / f"{split}.csv")
    assert read("fishnet", tmp_path)[0].uris == found.uris, "as in FishNet's repository"
    with pytest.raises(DataError, match="FeedingPath 'reef'; pelagic and benthic are allowed"):
        read("fishnet", fishnet(tmp_path, FeedingPath="reef"))
    with pytest.raises(DataError, match=r"Boreal '0\.5'; 0 and 1 are allowed"):
        read("fishnet", fishnet(tmp_path, Boreal=0.5))


ANIMALS = {"antelope": ("red", (1, 0), "train", 2), "polar+bear": ("blue", (0, 1), "test", 1)}


def test_attributes_of_awa2_belong_to_classes_whose_numbers_are_left_out(tmp_path: Path) -> None:
    found, findings = read("awa2", awa2(tmp_path, ANIMALS, ["black", "white"]))
    assert (found.classes, found.attributes) == (("antelope", "polar+bear"), ("black", "white"))
    assert found.target_NA.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert found.splits == ("train", "train", "test")
    assert not findings
    folder = tmp_path / "awa2" / "JPEGImages"
    paint(folder / "antelope" / "._antelope.png", "red")
    class_folders(folder, {"unicorn": ("red", 1)})
    found, findings = read("awa2", tmp_path)
    assert found.splits == ("train", "train", "test")
    assert list(findings.lines()) == [
        "class folders are in neither list of classes; they are not used: 1 (the first: JPEGImages/unicorn)"
    ]


def test_a_matrix_of_awa2_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    root = awa2(tmp_path, ANIMALS, ["black", "white"])
    (root / "awa2" / "predicate-matrix-binary.txt").write_text("1 0\n0 -1\n", "utf-8")
    with pytest.raises(
        DataError, match=r"not a matrix of 0 and 1 with 2 lines \(classes\.txt\) of 2 numbers \(predicates\.txt\)"
    ):
        read("awa2", root)
    (root / "awa2" / "testclasses.txt").unlink()
    with pytest.raises(MissingSetError, match=r"testclasses\.txt is missing"):
        read("awa2", root)


def test_known_classes_of_herbarium_are_those_of_the_published_split(tmp_path: Path) -> None:
    assert known_classes(tmp_path, 3)[0].tolist() == [0, 1], "the first half without the file"
    file = tmp_path / "herbarium_19_class_splits.pkl"
    file.write_bytes(pickle.dumps({"Old": [np.int64(2), np.int64(0)], "New": [1]}))
    known, source = known_classes(tmp_path, 3)
    assert (known.tolist(), source) == ([0, 2], file.name)
    with pytest.raises(DataError, match="is a split of 3 classes; the folder has 4"):
        known_classes(tmp_path, 4)


class Touch:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("made by a pickle",)


def test_a_split_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "herbarium_19_class_splits.pkl").write_bytes(pickle.dumps({"Old": Touch(), "New": []}))
    with pytest.raises(DataError, match=r"is not the split of the published code .* get it again"):
        known_classes(tmp_path, 2)
    assert not (tmp_path / "made by a pickle").exists()


def test_class_folders_without_images_are_counted(tmp_path: Path) -> None:
    class_folders(tmp_path / "plantdoc" / "train", {"b": ("red", 1), "a": ("blue", 2)})
    class_folders(tmp_path / "plantdoc" / "test", {"a": ("blue", 1)})
    (tmp_path / "plantdoc" / "test" / "b").mkdir()
    (tmp_path / "plantdoc" / "test" / "a" / "notes.txt").write_text("", "utf-8")
    found, findings = read("plantdoc", tmp_path)
    assert found.classes == ("a", "b")
    assert found.class_N.tolist() == [0, 0, 1, 0]
    assert list(findings.lines()) == [
        "classes have no image in the folder; they are left out, of the candidates too: 1 (the first: test/b)"
    ]
