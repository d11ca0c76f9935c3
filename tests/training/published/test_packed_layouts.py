"""Layouts in tars and Parquet files: TreeOfLife's catalogs and shards, distributed-downloader, img2dataset, captions."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from collections_of_discs import TAXA
from published_samples import image, sample, treeoflife_texts, write_img2dataset, write_tar, write_treeoflife
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_training.published import collections, downloaded, img2dataset_tables, samples, shards, treeoflife
from bioclip_training.published.known import recognise
from bioclip_training.published.layout import ReadOptions
from bioclip_training.published.opening import open_image
from bioclip_training.published.records import SOURCE_RECORDS
from bioclip_training.shards.manifest import MANIFEST_FILE

UUIDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(5)]
RANKS = dict(zip("kingdom phylum class order family genus".split(), TAXA[0].lineage, strict=False))


def read(path: Path, name: str = "", **settings: Any) -> tuple[list[dict[str, Any]], ReadOptions]:
    layout, _ = recognise(path, name)
    options = ReadOptions(settings=settings)
    batches = list(layout.read(path, options))
    assert all(batch.schema == SOURCE_RECORDS for batch in batches)
    return sorted((row for batch in batches for row in batch.to_pylist()), key=lambda row: row["record_id"]), options


def found(options: ReadOptions) -> dict[str, tuple[int, str]]:
    return {text: (count, first) for text, count, first in [*options.findings.found(), *options.skipped.found()]}


def catalog_200m(folder: Path, **changes: Any) -> Path:
    """Write TreeOfLife-200M with four images, of which one is not in the catalog, which has one that has no image."""
    rows = {
        "uuid": UUIDS[:4], "data_source": ["gbif"] * 4, "source_id": ["1", "1", "2", "3"],
        **{rank: [name] * 4 for rank, name in RANKS.items()},
        "species": ["Rubra parva"] * 4, "scientific_name": ["Rubra parva L."] * 4, "common": ["red disc", "Rubra parva", None, ""],
        "basisOfRecord": ["HUMAN_OBSERVATION"] * 4, "publisher": ["a museum"] * 4, "img_type": ["Citizen Science"] * 4,
    }  # fmt: skip
    (folder / "dataset").mkdir(parents=True)
    parquet.write_table(pa.table({**rows, **changes}), folder / "dataset" / "catalog.parquet")
    return folder


def stored_200m(folder: Path, uuids: list[str], name: str = "source=gbif/server=x/data_0.parquet") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    rows = {
        "uuid": uuids, "source_id": ["1"] * len(uuids), "identifier": ["http://x/1.jpg"] * len(uuids), "license": ["CC0"] * len(uuids),
        "source": ["", *["a person"] * (len(uuids) - 1)], "title": [None] * len(uuids),
        "hashsum_original": ["A" * 32, *["0"] * (len(uuids) - 1)], "hashsum_resized": ["b" * 32] * len(uuids),
        "resized_size": [[2, 1]] * len(uuids), "image": [bytes((255, 0, 0, 0, 255, 0))] * len(uuids),
    }  # fmt: skip
    parquet.write_table(pa.table(rows), folder / name)


def test_the_catalog_of_treeoflife_200m_is_joined_with_its_images(tmp_path: Path) -> None:
    catalog_200m(tmp_path)
    stored_200m(tmp_path, [UUIDS[1], UUIDS[0], UUIDS[4]])
    (first, second), options = read(tmp_path)
    assert {name: first[name] for name in ("record_id", "uri", "url", "observation_id", "common_name", "licence", "rights_holder")} == {
        "record_id": UUIDS[0], "uri": "source=gbif/server=x/data_0.parquet#1", "url": "http://x/1.jpg", "observation_id": "gbif:1",
        "common_name": "red disc", "licence": "CC0", "rights_holder": "a person",
    }  # fmt: skip
    assert (first["genus"], first["species"], first["verbatim_name"]) == ("Rubra", "Rubra parva", "Rubra parva L.")
    assert (second["common_name"], second["rights_holder"]) == ("", "a museum")
    assert [(row["published_original_md5"], row["published_md5"]) for row in (first, second)] == [
        ("", "b" * 32), ("a" * 32, "b" * 32),
    ]  # fmt: skip
    assert open_image(tmp_path, first["uri"]).startswith(b"\x89PNG")
    assert found(options) == {
        treeoflife.SAME_NAME: (1, "Rubra parva"),
        "rows without an image file": (2, UUIDS[2]),
        "image files without a row": (1, "source=gbif/server=x/data_0.parquet#2"),
        "hashes are not of the kind md5 and are not used": (2, "'0'"),
    }
    assert options.counts == {"rows": 4, "records": 2}


def test_records_without_images_are_kept_if_that_is_asked_for(tmp_path: Path) -> None:
    catalog_200m(tmp_path)
    with pytest.raises(SourceError, match="has a catalog and none of its images"):
        read(tmp_path)
    rows, options = read(tmp_path, missing_images="keep")
    assert ([row["uri"] for row in rows], options.counts["records"]) == ([""] * 4, 4)


def test_ids_that_are_given_twice_count_once(tmp_path: Path) -> None:
    catalog_200m(tmp_path, uuid=[UUIDS[0], UUIDS[0], UUIDS[1], ""])
    stored_200m(tmp_path, [UUIDS[0], UUIDS[1], UUIDS[0]])
    rows, options = read(tmp_path)
    assert [(row["record_id"], row["uri"].rpartition("#")[2]) for row in rows] == [(UUIDS[0], "0"), (UUIDS[1], "1")]
    assert found(options)[treeoflife.TWICE] == (1, UUIDS[0])
    assert found(options)["ids have several images; the first of each is used"] == (1, UUIDS[0])
    assert found(options)["rows lack an id"][0] == 1


def test_the_catalog_of_treeoflife_10m_finds_images_in_shards_tars_and_folders(tmp_path: Path) -> None:
    header = "split,treeoflife_id,eol_content_id,eol_page_id,bioscan_part,bioscan_filename,inat21_filename,inat21_cls_name,inat21_cls_num"
    header += ",kingdom,phylum,class,order,family,genus,species,common"
    names = "Fictalia,Fictozoa,Fictia,Fictales,Fictidae,Rubra,parva"
    rows = [f"train,{uuid},10{n},900,,,,,,{names},red disc" for n, uuid in enumerate(UUIDS[:4])]
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "catalog.csv").write_text("\n".join([header, *rows]) + "\n")
    write_tar(tmp_path / "train" / "shard-000000.tar", sample(UUIDS[0], treeoflife_texts(TAXA[0])))
    write_tar(tmp_path / "dataset" / "image_set_01.tar.gz", [(f"{UUIDS[1]}.jpg", image())], "w:gz")
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / f"{UUIDS[2]}.jpg").write_bytes(image())
    captions = {"uuid": [UUIDS[1], UUIDS[4]], "caption": ["a red disc on grey", "another"]}
    parquet.write_table(pa.table(captions), tmp_path / "uuid_caption_description.parquet")
    records, options = read(tmp_path)
    assert [row["caption"] for row in records] == ["", "a red disc on grey", ""]
    assert [row["uri"] for row in records] == [
        f"train/shard-000000.tar#{UUIDS[0]}.jpg", f"dataset/image_set_01.tar.gz#{UUIDS[1]}.jpg", f"loose/{UUIDS[2]}.jpg",
    ]  # fmt: skip
    assert [records[0][name] for name in ("published_split", "treeoflife_id", "eol_content_id", "eol_page_id", "species")] == [
        "train", UUIDS[0], "100", "900", "parva",
    ]  # fmt: skip
    assert found(options) == {"rows without an image file": (1, UUIDS[3])}


def test_shards_of_treeoflife_are_records(tmp_path: Path) -> None:
    write_treeoflife(tmp_path, each=1, shards=1)
    write_treeoflife(tmp_path, each=1, split="val", is_large=True, shards=1)
    _, recognition = recognise(tmp_path)
    assert recognition.confidence == "its samples have the text members of TreeOfLife's shards"
    assert [file.name for file in recognition.files] == ["shard-000000.tar"] * 2
    rows, options = read(tmp_path)
    assert sorted(row["published_split"] for row in rows) == ["train"] * 6 + ["val"] * 6
    lineages = {tuple(row[rank] for rank in (*RANKS, "species")) for row in rows}
    assert lineages == {taxon.lineage for taxon in TAXA}
    assert {row["common_name"] for row in rows if row["published_split"] == "train"} == {
        taxon.common_name for taxon in TAXA
    }
    assert all(row["treeoflife_id"] == row["record_id"] and not row["caption"] for row in rows)
    assert open_image(tmp_path, rows[0]["uri"]).startswith(b"\x89PNG")
    assert (options.counts, found(options)) == ({"files": 2, "records": 12}, {})


def test_shards_that_we_wrote_are_no_source(tmp_path: Path) -> None:
    write_treeoflife(tmp_path, each=1)
    (tmp_path / MANIFEST_FILE).write_text("{}")
    with pytest.raises(SourceError, match="has no published layout itself"):
        recognise(tmp_path)
    assert shards.MANIFEST_FILE == MANIFEST_FILE


def test_damaged_shards_are_named_and_the_others_read(tmp_path: Path) -> None:
    write_treeoflife(tmp_path, each=2)
    tar = tmp_path / "train" / "shard-000000.tar"
    with tarfile.open(tar) as whole:
        cut = [member.offset_data for member in whole if member.name.endswith(".jpg")][2] + 9
    tar.write_bytes(tar.read_bytes()[:cut])
    (tmp_path / "train" / "shard-000009.tar").write_bytes(b"<html>404</html>")
    rows, options = read(tmp_path)
    assert (len(rows), found(options)[samples.TRUNCATED][0], found(options)[collections.NOT_SHARDS][0]) == (8, 1, 1)


def test_output_of_distributed_downloader_has_no_names_and_counts_its_errors(tmp_path: Path) -> None:
    place = "images_data/server_name=x.org/partition_id=0"
    stored_200m(tmp_path, UUIDS[:2], f"{place}/successes.parquet")
    errors = {"uuid": UUIDS[2:5], "identifier": ["http://x"] * 3, "error_code": [404, -1, 404], "error_msg": [""] * 3}
    parquet.write_table(pa.table(errors), tmp_path / place / "errors.parquet")
    cut = tmp_path / "images_data" / "server_name=y.org"
    cut.mkdir()
    (cut / "successes.parquet").write_bytes((tmp_path / place / "successes.parquet").read_bytes()[:300])
    rows, options = read(tmp_path)
    assert [tuple(row[name] for name in ("record_id", "uri", "licence", "published_original_md5")) for row in rows] == [
        (UUIDS[0], f"{place}/successes.parquet#0", "CC0", "a" * 32), (UUIDS[1], f"{place}/successes.parquet#1", "CC0", ""),
    ]  # fmt: skip
    assert options.counts == {
        "records": 2, "addresses not fetched (error -1)": 1, "addresses not fetched (error 404)": 2,
    }  # fmt: skip
    assert found(options)[downloaded.DAMAGED][0] == 1
    assert found(options)[downloaded.DAMAGED][1].startswith("images_data/server_name=y.org/successes.parquet: ")


def test_output_of_img2dataset_is_records_with_captions(tmp_path: Path) -> None:
    write_img2dataset(tmp_path, ["a dog", "a cat"])
    cells = {
        "caption": "a fish",
        "url": "http://x/f.jpg",
        "sha256": "C" * 64,
        "kingdom": "Animalia",
        "genus": "Rubra",
        "species": "Rubra parva",
        "NaN": None,
    }
    write_tar(tmp_path / "00001.tar", sample("000010000", {"json": json.dumps(cells), "txt": "a fish"}))
    _, recognition = recognise(tmp_path)
    assert (recognition.layout, recognition.missing) == (
        "img2dataset",
        ("_stats.json of 1 file (the first: 00001.tar): they may be unfinished",),
    )
    rows, options = read(tmp_path)
    assert [(row["record_id"], row["caption"], row["genus"], row["species"]) for row in rows] == [
        ("000000000", "a dog", "", ""), ("000000001", "a cat", "", ""), ("000010000", "a fish", "Rubra", "parva"),
    ]  # fmt: skip
    assert rows[0]["url"] == "http://x/000000000.jpg"
    assert [row["published_original_sha256"] for row in rows] == ["", "", "c" * 64]
    assert found(options) == {img2dataset_tables.UNFINISHED: (1, "00001.tar")}
    listed = {"00000": ("000000000", "000000001", "000000002"), "00001": ("000010000", "000010001", "000010002")}
    states = {"00000": ("success", "success", "failed_to_download"), "00001": ("failed_to_resize", "success", None)}
    for name, keys in listed.items():
        about = {"key": keys, "status": states[name], "error_message": [None, None, "HTTP Error 404: Not Found"]}
        parquet.write_table(pa.table(about), tmp_path / f"{name}.parquet")
    rows, options = read(tmp_path)
    assert (len(rows), found(options)) == (3, {
        img2dataset_tables.UNFINISHED: (1, "00001.tar"),
        "rows without an image (failed_to_download)": (1, "00000.tar, 000000002: HTTP Error 404: Not Found"),
        "rows without an image (failed_to_resize)": (1, "00001.tar, 000010000"),
        "rows without an image": (1, "00001.tar, 000010002: HTTP Error 404: Not Found"),
        img2dataset_tables.LOST: (1, "00001.tar, 000010001"),
        img2dataset_tables.UNLISTED: (1, "00001.tar, 000010000"),
    })  # fmt: skip
    (tmp_path / "00001.parquet").write_bytes((tmp_path / "00001.parquet").read_bytes()[:-9])
    assert found(read(tmp_path)[1])[img2dataset_tables.UNREADABLE_TABLE][0] == 1


def test_images_with_captions_in_parquet_and_tars_are_a_layout(tmp_path: Path) -> None:
    rows = {"image": [{"bytes": image(), "path": "1.jpg"}] * 2, "text": ["a dog", "a cat"], "id": ["x1", "x2"]}
    (tmp_path / "p").mkdir()
    parquet.write_table(pa.table(rows), tmp_path / "p" / "part-0.parquet")
    records, _ = read(tmp_path / "p")
    assert [(row["record_id"], row["uri"], row["caption"]) for row in records] == [
        ("x1", "part-0.parquet#0", "a dog"), ("x2", "part-0.parquet#1", "a cat"),
    ]  # fmt: skip
    named = {"json": json.dumps({"genus": "Rubra"}), "txt": "red"}
    write_tar(tmp_path / "t" / "a.tar", [*sample("1", {"txt": "a dog"}), *sample("2", {}), *sample("3", named)])
    records, options = read(tmp_path / "t", taxa="ignore")
    assert [(row["caption"], row["genus"]) for row in records] == [("a dog", ""), ("red", "")]
    assert found(options) == {shards.NO_CAPTION: (1, "a.tar#2.jpg")}


def test_a_folder_of_photographs_is_not_taken_for_shards(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(image())
    with pytest.raises(SourceError, match="has no known layout"):
        recognise(tmp_path)


@pytest.mark.shared_data
def test_the_fixtures_of_the_papers_are_read_as_they_are() -> None:
    folder = Path(os.environ["BIOCLIP_DATA"]) / "data" / "papers_layouts"
    layouts = {
        "tol_shards10m": "treeoflife-shards",
        "tol_shards200m": "treeoflife-shards",
        "tol200m": "treeoflife-200m",
    }
    for name, layout in layouts.items():
        assert recognise(folder / name)[0].name == layout
        rows, options = read(folder / name)
        odd = {"hashes are not of the kind md5 and are not used": (12, "'a'")} if name == "tol200m" else {}
        assert (len(rows), found(options)) == (6, odd)
        assert {row["genus"] for row in rows} == {"Pomacentrus"}
        assert all(len(open_image(folder / name, row["uri"])) > 100 for row in rows)
    rows, _ = read(folder / "tol10m", missing_images="keep")
    assert [len(rows), *(rows[0][name] for name in ("record_id", "eol_content_id", "species"))] == [
        6, "101fbccc-ded7-33e8-b421-eaeb534097ca", "100", "moluccensis",
    ]  # fmt: skip
