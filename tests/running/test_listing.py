"""Listings: packages are listed and unpacked once per run, and unpacked files are removed at the end."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from camtrap_samples import OBSERVATION, package, photo
from darwin_samples import archive, packed, picture

from bioclip_core.errors import SourceError
from bioclip_core.files.archives import Archive
from bioclip_plugin import Session, create_plugin_manager, hookimpl
from bioclip_plugin.cli import run
from bioclip_plugin.plugin_api import ListingOptions, MediaItem, Source, Unlisted
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of all temporary files, empty before each test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counter of how often each image of a package is unpacked, by its name in the package."""
    counts: Counter[str] = Counter()
    extract = Archive.extract

    def counting(archive: Archive, folder: Path, names: Iterable[str] | None = None, **named: Any) -> list[Path]:
        names = list(archive.members if names is None else names)
        counts.update(name for name in names if name.endswith((".jpg", ".png")))
        return extract(archive, folder, names, **named)

    monkeypatch.setattr(Archive, "extract", counting)
    return counts


def camtrap_zip(folder: Path) -> Path:
    photo(package(folder) / "media/a.jpg")
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return folder.with_suffix(".zip")


def darwin_zip(folder: Path) -> Path:
    rows = [{"coreid": "s1", "identifier": "a.png"}, {"coreid": "s2", "identifier": "b.png"}]
    archive(folder, rows)
    for name in ("a.png", "b.png"):
        picture(folder / name)
    return packed(folder, folder.with_suffix(".zip"))


def command(*arguments: object) -> int:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    return run([str(argument) for argument in arguments], manager=manager)


def classify(folder: Path, *paths: Path) -> int:
    (folder / "labels.txt").write_text("red fish\nblue fish\n")
    return command("classify", *paths, "--model", "fake", "--labels", folder / "labels.txt", "--store", folder / "r.db")


def test_classifying_packages_unpacks_each_once_and_leaves_no_temporary_file(
    tmp_path: Path, temporary: Path, unpacked: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert classify(tmp_path, camtrap_zip(tmp_path / "camtrap"), darwin_zip(tmp_path / "darwin")) == 0
    said = capsys.readouterr().out
    assert "3 images, 3 done, 0 failed" in said
    assert "Reviews by people: 1 read, 1 new" in said
    assert unpacked == {"media/a.jpg": 1, "a.png": 1, "b.png": 1}
    assert list(temporary.iterdir()) == []


def test_embedding_a_package_unpacks_it_once_and_leaves_no_temporary_file(
    tmp_path: Path, temporary: Path, unpacked: Counter[str]
) -> None:
    address = darwin_zip(tmp_path / "darwin")
    assert command("embed", address, "--model", "fake", "--output", tmp_path / "e.parquet") == 0
    assert unpacked == {"a.png": 1, "b.png": 1}
    assert list(temporary.iterdir()) == []


def test_a_run_that_an_error_ends_leaves_no_temporary_file(
    tmp_path: Path, temporary: Path, unpacked: Counter[str]
) -> None:
    """Listing of the second package stops at its media table, which lacks a column."""
    broken = package(tmp_path / "broken")
    (broken / "media.csv").write_text("deploymentID\nd1\n")
    assert classify(tmp_path, darwin_zip(tmp_path / "darwin"), broken) == 1
    assert unpacked == {"a.png": 1, "b.png": 1}
    assert list(temporary.iterdir()) == []


def test_a_misspelt_path_is_refused_before_a_run_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "photos/a.png")
    assert classify(tmp_path, tmp_path / "photos", tmp_path / "fotos") == 1
    assert "fotos does not exist" in capsys.readouterr().err
    with Store.open(tmp_path / "r.db") as store:
        assert store.runs() == []


def test_a_command_warns_once_of_a_file_that_it_lists(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.png")
    results = {"info": {"format_version": 1.4}, "detection_categories": {"1": "animal"},
               "images": [{"file": "a.png", "detections": []}]}  # fmt: skip
    (tmp_path / "md.json").write_text(json.dumps(results))
    assert classify(tmp_path, tmp_path / "md.json") == 0
    assert caplog.text.count("format_version 1.4 is a number") == 1


class Shelf:
    """Source that counts how often it is listed."""

    name = "shelf"

    def __init__(self, entries: Callable[[], Iterator[MediaItem | Unlisted]]) -> None:
        self.entries = entries
        self.asked = 0

    def takes(self, address: str) -> bool:
        return address.startswith("shelf:")

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        self.asked += 1
        return self.entries()

    @hookimpl
    def register_sources(self, register: Callable[[Source], None]) -> None:
        register(self)


def numbered(count: int) -> Iterator[MediaItem | Unlisted]:
    return (MediaItem(f"{number}.jpg", metadata={"drawer": number}) for number in range(count))


def test_the_total_is_known_long_before_the_last_item_and_the_source_is_asked_once() -> None:
    shelf, totals = Shelf(lambda: numbered(5000)), []
    entries = Listing(["shelf:a"], [shelf]).counted(totals.append)
    first = [next(entries) for _ in range(250)]
    assert totals == [5000]
    assert [*first, *entries] == list(numbered(5000))
    assert (shelf.asked, totals) == (1, [5000])


def test_the_first_items_are_not_kept_waiting_for_a_long_listing() -> None:
    listed = 0

    def entries() -> Iterator[MediaItem | Unlisted]:
        nonlocal listed
        for item in numbered(5000):
            listed += 1
            yield item

    ahead = Listing(["shelf:a"], [Shelf(entries)]).counted(lambda _: None)
    for _ in range(16):  # the first batch
        next(ahead)
    assert listed < 100


def test_entries_that_hold_an_image_are_handed_over_in_order_and_not_read_ahead() -> None:
    taken: list[str] = []

    def entries() -> Iterator[MediaItem | Unlisted]:
        yield MediaItem("a.jpg")
        for name in ("b.jpg", "c.jpg"):
            taken.append(name)
            yield MediaItem(name, data=b"12")
        yield Unlisted("d", "it is a folder")

    listed = Listing(["shelf:a"], [Shelf(entries)]).counted(lambda _: None)
    assert next(listed) == MediaItem("a.jpg")
    second = next(listed)
    assert isinstance(second, MediaItem)
    assert (second.uri, second.data, taken) == ("b.jpg", b"12", ["b.jpg"])
    assert [entry.uri for entry in listed] == ["c.jpg", "d"]


def test_an_error_of_a_source_is_raised_after_the_items_before_it() -> None:
    def entries() -> Iterator[MediaItem | Unlisted]:
        yield from numbered(40)
        raise SourceError("the drawer is stuck")

    totals: list[int] = []
    listed = Listing(["shelf:a"], [Shelf(entries)]).counted(totals.append)
    assert [next(listed) for _ in range(40)] == list(numbered(40))
    with pytest.raises(SourceError, match="drawer is stuck"):
        next(listed)
    assert totals == []


def test_a_session_closes_its_listings(tmp_path: Path, temporary: Path) -> None:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    address = str(camtrap_zip(tmp_path / "camtrap"))
    with Session(model="fake", labels=["red", "blue"], plugins=manager) as session:
        (answer,) = session.classify_stream(session.listing([address]))
        assert answer.failure is None
        assert answer.item.sequence == OBSERVATION["eventID"]
        assert list(temporary.iterdir()) != []
    assert list(temporary.iterdir()) == []


def test_a_listing_of_a_session_with_a_store_answers_stored_items_whose_files_are_gone(tmp_path: Path) -> None:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    image = picture(tmp_path / "photos/a.png")
    with Session(model="fake", labels=["red", "blue"], store=tmp_path / "r.db", plugins=manager) as session:
        assert [answer.failure for answer in session.classify_stream(session.listing([str(image.parent)]))] == [None]
        image.unlink()
        image.parent.rmdir()
        assert [entry.uri for entry in session.listing([str(image.parent)])] == [str(image)]
        assert [entry.uri for entry in session.listing([])] == [str(image)]
        with pytest.raises(SourceError, match="nowhere does not exist"):
            session.listing(["nowhere"])


def test_the_stores_images_are_found_under_a_replaced_beginning_and_keep_their_names(tmp_path: Path) -> None:
    options = ListingOptions(replace_prefix=(f"/mnt/old={tmp_path}", "/elsewhere=/x"))
    known = [MediaItem("/mnt/old/a.jpg"), MediaItem("b.jpg")]
    with Listing([], [], options, known=lambda _: iter(known)) as listing:
        items = [entry for entry in listing if isinstance(entry, MediaItem)]
    assert [(item.uri, item.path) for item in items] == [("/mnt/old/a.jpg", tmp_path / "a.jpg"), ("b.jpg", None)]
    assert list(options.findings.lines()) == [
        f"file names had their beginning /mnt/old replaced: 1 (the first: /mnt/old/a.jpg is read as {tmp_path / 'a.jpg'})",
        "beginnings in --replace-prefix do not fit any file name: 1 (the first: /elsewhere)",
    ]
