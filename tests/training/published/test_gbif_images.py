"""Images of a GBIF download on disk, and the ids by which its observations are known."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from bioclip_core.errors import SourceError, UsageError
from bioclip_training.published.known import recognise
from bioclip_training.published.layout import ReadOptions

URLS = (
    "https://a.example.org/img/one.jpg?size=large",
    "https://a.example.org/img/two%20b.png",
    "https://b.example.org/3",
)
INAT = "https://www.inaturalist.org/observations/17"


@pytest.fixture
def download(tmp_path: Path) -> Path:
    occurrences = [("1", INAT), ("2", "12"), ("3", "5A921187-19c7-8df4-8f4f-f31e78de5857")]
    parquet.write_table(
        pa.table(
            {
                "gbifid": [one[0] for one in occurrences],
                "occurrenceid": [one[1] for one in occurrences],
                "scientificname": ["Acer rubrum L."] * 3,
                "kingdom": ["Plantae"] * 3,
            }
        ),
        tmp_path / "occurrence.parquet",
    )
    media = {"gbifid": ["1", "2", "3"], "type": ["StillImage"] * 3, "identifier": list(URLS)}
    parquet.write_table(pa.table(media), tmp_path / "multimedia.parquet")
    return tmp_path


def read(path: Path, **settings: Any) -> tuple[list[dict[str, Any]], ReadOptions]:
    layout, _ = recognise(path, "gbif")
    options = ReadOptions(settings=settings)
    rows = [row for batch in layout.read(path, options) for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: str(row["record_id"])), options


def add(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"image")


def test_without_a_folder_of_images_records_have_addresses_only(download: Path) -> None:
    rows, _ = read(download)
    assert [row["uri"] for row in rows] == ["", "", ""]
    assert any("addresses only" in line for line in recognise(download)[1].lines())


def test_images_are_found_by_the_last_part_of_their_address_and_missing_ones_are_counted(download: Path) -> None:
    add(download / "images", "one.jpg", "two b.png", "stray.jpg")
    rows, options = read(download)
    assert [row["uri"] for row in rows] == ["images/one.jpg", "images/two b.png"]
    assert options.skipped.count("rows without an image file") == 1
    assert options.findings.count("image files without a row") == 1


@pytest.mark.parametrize("naming", ["md5", "sha1"])
def test_images_are_found_by_the_hash_of_their_address(download: Path, naming: str) -> None:
    suffixes = (".jpg", ".png", ".jpg")
    names = [hashlib.new(naming, url.encode()).hexdigest() + suffix for url, suffix in zip(URLS, suffixes, strict=True)]
    add(download / "pictures", *names)
    rows, _ = read(download, images="pictures", image_names=naming)
    assert [row["uri"] for row in rows] == [f"pictures/{name}" for name in names]


def test_images_under_other_names_are_refused_with_the_options_that_decide_it(download: Path) -> None:
    add(download / "images", "1.jpg", "2.jpg")
    with pytest.raises(SourceError, match=r"none of the images of 3 rows is in images .*images: FOLDER"):
        read(download)
    with pytest.raises(UsageError, match=r"image_names: 'gbifID' .* is not one of address, md5, sha1"):
        read(download, image_names="gbifID")
    assert len(read(download, missing_images="keep")[0]) == 3


def test_addresses_that_differ_before_their_last_part_only_are_refused(download: Path) -> None:
    """iNaturalist's photos are /photos/NUMBER/original.jpg: one file original.jpg would be the image of all."""
    urls = [f"https://a.example.org/photos/{number}/original.jpg?{number}" for number in range(3)]
    media = {"gbifid": ["1", "2", "3"], "type": ["StillImage"] * 3, "identifier": urls}
    parquet.write_table(pa.table(media), download / "multimedia.parquet")
    add(download / "images", "original.jpg")
    with pytest.raises(
        SourceError, match=r"1 name of images would be the last part .*photos/0/original\.jpg.* md5 or sha1"
    ):
        read(download)
    names = [hashlib.sha1(url.encode()).hexdigest() + ".jpg" for url in urls]
    add(download / "images", *names)
    assert [row["uri"] for row in read(download, image_names="sha1")[0]] == [f"images/{name}" for name in names]


def test_one_address_of_two_occurrences_is_one_file(download: Path) -> None:
    """0.1% of iNaturalist's photos are in several observations: two organisms on one photo."""
    media = {"gbifid": ["1", "2"], "type": ["StillImage"] * 2, "identifier": [URLS[0]] * 2}
    parquet.write_table(pa.table(media), download / "multimedia.parquet")
    add(download / "images", "one.jpg")
    rows, _ = read(download)
    assert [(row["uri"], row["record_id"]) for row in rows] == [("images/one.jpg", f"{n} {URLS[0]}") for n in (1, 2)]


def test_an_observation_has_the_publishers_id_if_it_is_one_worldwide(download: Path) -> None:
    """iNaturalist's observations come with their address, museums often number from 1."""
    rows, _ = read(download)
    assert [row["observation_id"] for row in rows] == [INAT, "2", "5A921187-19c7-8df4-8f4f-f31e78de5857"]
