"""Folders and tables without images: the reason, an exit code of 1, and no proposal that cannot work."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from command_samples import Bioclip, Outcome
from PIL import Image

from bioclip_plugin.store import Store

Entries = dict[str, str]


def made(entries: Entries) -> None:
    """Make a folder with these files; a name that ends with a slash is a folder."""
    Path("place").mkdir()
    for name, text in entries.items():
        path = Path("place") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if name.endswith("/") else path.write_text(text)


def classify(bioclip: Bioclip, labels: str, *paths: str) -> Outcome:
    return bioclip("classify", *paths, "--model", "fake", "--labels", labels, "--store", "new.db")


EMPTY: dict[str, tuple[Entries, list[str]]] = {
    "empty": ({}, ["the folder place is empty; give a folder with images"]),
    "only folders": ({"a/b/": "", "c/": ""}, ["the folder place is empty"]),
    "other files": (
        {"a.txt": "", "b/c.TXT": "", "b/d.mp3": "", "README": ""},
        ["the folder place has no images, but 4 other files (.txt 2, ", ".mp3 1", "without a suffix 1", "read are", ".jpg", ".mp4"],
    ),
    "a table": ({"images.csv": "image\n"}, ["1 other files (.csv 1)", "to classify what a table", "name that file"]),
    "files of systems": (
        {".DS_Store": "", "Thumbs.db": "", "._IMG_0001.JPG": "", "b/desktop.ini": "", ".trash/x.jpg": "", "@eaDir/y.jpg": ""},
        ["the folder place has only hidden files and files of an operating system", "(6, the first: place/.DS_Store)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", EMPTY)
def test_a_folder_without_images_says_what_is_in_it(bioclip: Bioclip, labels: str, kind: str) -> None:
    entries, words = EMPTY[kind]
    made(entries)
    said = classify(bioclip, labels, "place")
    assert (said.code, len(said.err.splitlines())) == (1, 1)
    assert [word for word in words if word not in said.err] == [], said.err
    for proposal in ("Next:", "export", "images/s", "0 of 0", "Traceback"):
        assert proposal not in said.out + said.err
    with Store.open("new.db") as store:
        assert store.runs() == []
    refused = bioclip("embed", "place", "--model", "fake", "--output", "e.parquet")
    assert (refused.code, refused.err) == (1, said.err)
    assert not Path("e.parquet").exists()


def test_a_table_without_rows_and_no_paths_on_standard_input_list_nothing(
    bioclip: Bioclip, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("t.csv").write_text("image,eventDate\n")
    assert "Error: t.csv " in classify(bioclip, labels, "t.csv").err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    said = classify(bioclip, labels, "-")
    assert (said.code, said.err) == (1, "Error: there are no paths on standard input\n")


def test_a_store_without_images_asks_for_some(bioclip: Bioclip, labels: str) -> None:
    made({})
    classify(bioclip, labels, "place")  # makes the store
    said = classify(bioclip, labels)
    assert (said.code, "the store has no images yet" in said.err) == (1, True)


def test_an_empty_folder_beside_another_and_other_files_are_counted(
    bioclip: Bioclip, labels: str, photos: Path
) -> None:
    made({"nothing.mp3": ""})
    (photos / "zero.jpg").unlink()
    for name in ("notes.txt", "tracks.gpx", "Thumbs.db", ".hidden"):
        (photos / name).touch()
    said = classify(bioclip, labels, "place", photos.name)
    assert said.code == 0
    assert "given places without images: 1 (the first: place)" in said.out
    assert "files in folders that are not images, skipped: 3 (the first: place/nothing.mp3)" in said.out


def test_a_folder_that_was_emptied_is_answered_from_the_store(bioclip: Bioclip, labels: str, photos: Path) -> None:
    (photos / "zero.jpg").unlink()
    assert classify(bioclip, labels, photos.name).code == 0
    for path in photos.iterdir():
        path.unlink()
    said = classify(bioclip, labels, photos.name)
    assert (said.code, "All 3 images were done already" in said.out, "without images" in said.out) == (0, True, False)


def test_a_first_image_begins_the_run(bioclip: Bioclip, labels: str) -> None:
    made({"a.txt": ""})
    assert classify(bioclip, labels, "place").code == 1
    Image.new("RGB", (8, 8), (255, 0, 0)).save("place/a.png")
    assert classify(bioclip, labels, "place").code == 0
    with Store.open("new.db") as store:
        assert [run.id for run in store.runs()] == [1]
