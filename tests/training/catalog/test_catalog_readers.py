"""Labelled items from tables, folder trees and the reviews of a store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from catalog_samples import picture, save, write_table
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.labelled.sources import labelled_sources, moment_of, taxon_of_folders
from bioclip_plugin.store import ReviewTarget, RunPlan, Store
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import SkippedRow

LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus", "invented lynx")
PLAN = RunPlan(("photos",), {}, "f", {"weights_sha256": "w"}, 4, "a", {"labels": "l"}, "r", {"threshold": 0.5}, {})


def read(*addresses: Path) -> tuple[list[LabelledItem], list[SkippedRow]]:
    found = [item for source in labelled_sources([str(address) for address in addresses]) for item in source.items()]
    return [one for one in found if isinstance(one, LabelledItem)], [
        one for one in found if isinstance(one, SkippedRow)
    ]


def test_rows_of_one_image_keep_their_own_labels(tmp_path: Path) -> None:
    box = {"bboxY": 0.0, "bboxWidth": 0.5, "bboxHeight": 1.0}
    rows = [
        {"image": "a.png", "bboxX": 0.0, **box, "genus": "Lynx"},
        {"image": "a.png", "bboxX": 0.5, **box, "genus": "Invenia"},
        {"image": "a.png", "genus": "Both"},
    ]
    items, left_out = read(write_table(tmp_path / "t.csv", rows))
    assert [(item.box, item.cells["genus"]) for item in items] == [
        ((0.0, 0.0, 0.5, 1.0), "Lynx"), ((0.5, 0.0, 0.5, 1.0), "Invenia"), (None, "Both"),
    ]  # fmt: skip
    assert items[0].path == tmp_path / "a.png"
    assert left_out == []


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_other_tables_are_read_alike(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"t.{kind}"
    if kind == "tsv":
        file.write_text("path\tgenus\tframe\na.tif\tLynx\t2\n")
    else:
        parquet.write_table(pa.table({"path": ["a.tif"], "genus": ["Lynx"], "frame": pa.array([2], pa.int32())}), file)
    (item,), _ = read(file)
    assert (item.path, item.frame, item.cells["genus"], item.source) == (tmp_path / "a.tif", 2, "Lynx", file.name)


def test_rows_that_cannot_be_listed_say_why(tmp_path: Path) -> None:
    rows = [
        {"image": "", "genus": "Lynx"},
        {"image": "a.png", "genus": "Lynx", "bboxX": 0.9, "bboxY": 0, "bboxWidth": 0.5, "bboxHeight": 1},
        {"image": "b.png", "genus": "Lynx"},
    ]
    items, left_out = read(write_table(tmp_path / "t.csv", rows))
    assert [item.uri for item in items] == [str(tmp_path / "b.png")]
    assert "row 1: column" in left_out[0].reason
    assert "between 0 and 1" in left_out[1].reason


def test_a_table_without_an_image_column_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", [{"photo": "a.png", "genus": "Lynx"}])
    with pytest.raises(SourceError, match=r"no image column: it has photo, genus; one must be called image, path"):
        read(table)


def test_sources_bear_the_shortest_names_that_tell_them_apart(tmp_path: Path) -> None:
    for name in ("leaves", "fish"):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name / "collection.csv", [{"image": "a.png", "genus": "Lynx"}])
    tables = [tmp_path / name / "collection.csv" for name in ("leaves", "fish")]
    assert [one.name for one in labelled_sources([str(tables[0])])] == ["collection.csv"]
    assert [one.name for one in labelled_sources([str(t) for t in tables])] == [
        "leaves/collection.csv",
        "fish/collection.csv",
    ]
    with pytest.raises(SourceError, match=r"given twice: .*collection\.csv"):
        labelled_sources([str(tables[0]), str(tables[0])])


def test_an_address_that_is_nothing_we_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist; give a table"):
        labelled_sources([str(tmp_path / "gone.csv")])
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="is not a table, folder or store"):
        labelled_sources([str(tmp_path / "notes.txt")])


SPECIES = {"genus": "Lynx", "specificEpithet": "fictus", "verbatimScientificName": "Lynx fictus"}
HIGHER = dict(zip(("kingdom", "phylum", "class", "order", "family", "genus"), LYNX.lineage, strict=False))


@pytest.mark.parametrize(
    ("path", "cells"),
    [
        ("Lynx_fictus", SPECIES),
        ("Felidae/Lynx/fictus", {**SPECIES, "family": "Felidae"}),
        ("Felidae", {"family": "Felidae"}),
        ("Lynx", {"genus": "Lynx"}),
        ("photos/Lynx/2024", {"genus": "Lynx"}),
        ("Animalia/Chordata/Mammalia/Carnivora/Felidae/Lynx", HIGHER),
        ("Animalia/Lynx/fictus", {**SPECIES, "kingdom": "Animalia"}),
        ("Lynx fictus/den 4/day 1", {**SPECIES, "group": "Lynx fictus/den 4"}),
        (
            "val/00012_Animalia_Chordata_Mammalia_Carnivora_Felidae_Lynx_fictus_minor",
            {**HIGHER, "split": "val", "specificEpithet": "fictus minor"},
        ),
        ("images", {"scientificName": "images"}),
    ],
)
def test_folders_are_read_as_taxa(path: str, cells: dict[str, str]) -> None:
    assert taxon_of_folders(path.split("/")) == cells


def test_a_folder_tree_gives_its_images_with_the_taxa_of_their_folders(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    save(tree / "Lynx_fictus", 1)
    save(tree / "Felidae", 2)
    items, _ = read(tree)
    assert [(item.path, dict(item.cells).get("genus")) for item in items] == [
        (tree / "Felidae" / "2.png", None), (tree / "Lynx_fictus" / "1.png", "Lynx"),
    ]  # fmt: skip
    (alone,), _ = read(tree / "Lynx_fictus")
    assert alone.cells["specificEpithet"] == "fictus"


def test_the_camera_and_time_of_an_image_come_from_its_exif(tmp_path: Path) -> None:
    exif = picture(1).getexif()
    exif[271] = "Fictional"  # Make
    exif.get_ifd(0x8769)[36867] = "2024:05:06 10:00:30"  # DateTimeOriginal
    picture(1).save(tmp_path / "a.jpg", exif=exif)
    expected = datetime(2024, 5, 6, 10, 0, 30, tzinfo=UTC).timestamp()
    assert moment_of((tmp_path / "a.jpg").read_bytes()) == ("Fictional", expected)
    save(tmp_path, 1)
    assert moment_of((tmp_path / "1.png").read_bytes()) is None


def test_the_newest_review_of_a_target_counts_and_only_a_taxon_is_a_label(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    uris = [str(tmp_path / f"{seed}.png") for seed in (1, 2, 3)]
    drawn = Region(0.25, 0.0, 0.5, 1.0)
    with Store.open(tmp_path / "results.db") as store:
        run = store.begin_run(PLAN)
        store.list_items(run, [MediaItem(uri, deployment="camera 4") for uri in uris], [(1, 1)] * 3)

        def says(target: ReviewTarget, verdict: str, taxon: Taxon | None, day: int) -> None:
            when = datetime(2024, 5, day, tzinfo=UTC)
            store.add_review(target, verdict, taxon, reviewer="Ann", reviewed_at=when)  # type: ignore[arg-type]

        says(ReviewTarget("media", uris[0]), "taxon", LYNX, 2)
        says(ReviewTarget("media", uris[0]), "blank", None, 1)  # entered later, but made earlier
        says(ReviewTarget("region", uris[1], region=drawn), "taxon", LYNX, 1)
        says(ReviewTarget("media", uris[2]), "taxon", LYNX, 1)
        says(ReviewTarget("media", uris[2]), "person", None, 3)
        says(ReviewTarget("event", event="night 3"), "taxon", LYNX, 1)
    items, left_out = read(tmp_path / "results.db")
    assert [(item.path, item.box, item.cells["genus"], item.cells["deployment"]) for item in items] == [
        (tmp_path / "1.png", None, "Lynx", "camera 4"),
        (tmp_path / "2.png", (0.25, 0.0, 0.5, 1.0), "Lynx", "camera 4"),
    ]
    assert [one.reason for one in left_out] == [
        "the review says person", "no image of the store is of this event",
    ]  # fmt: skip
