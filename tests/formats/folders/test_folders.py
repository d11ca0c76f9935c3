"""Folders of links: every image in the folder of its taxon or verdict, originals untouched, nothing overwritten or lost."""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.classify import Candidate
from bioclip_core.errors import BioclipError
from bioclip_core.files.whole import check_folder, whole_folder, zip_folder
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export, Selection
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.folders.names import Names, safe_name
from bioclip_plugin.formats.folders.write import FoldersExporter
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region, uri_of
from bioclip_plugin.store import ItemRecord, RegionRecord, ReviewTarget, Run, RunPlan, Store

FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "fictus", "invented fox")
HARE = Taxon("Animalia", "Chordata", "Mammalia", "Lagomorpha", "Leporidae", "Lepus", "fictus", "invented hare")
FIRST, SECOND = (
    Region(0, 0, 0.5, 0.5, "finder", "1", "animal", 0.9),
    Region(0.5, 0.5, 0.5, 0.5, "finder", "1", "animal", 0.9),
)
PERSON = replace(FIRST, category="person", classified=False)
PLAN = RunPlan(
    sources=("photos",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={"model": {"name": "fake"}},
)  # fmt: skip
EXPORTER = FoldersExporter()
Given = tuple[str, int, tuple[tuple[Region, Taxon | None], ...], Failure | None]


class Photos:
    """A folder of files, and a run over them."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.given = folder, store, list[Given]()

    def add(
        self, name: str, *regions: tuple[Region, Taxon | None], frame: int = 0, failure: str = "", real: bool = True
    ) -> None:
        if real:
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode("utf-8", "surrogateescape"))
        self.given.append((uri_of(name), frame, regions, Failure("decode", failure) if failure else None))

    def run(self) -> Run:
        run = self.store.begin_run(PLAN)
        items = [
            MediaItem(uri, frame=frame, regions=tuple(box for box, _ in regions), detected=True)
            for uri, frame, regions, _ in self.given
        ]
        records = []
        for listed, (uri, _, regions, failure) in zip(
            self.store.list_items(run, items, [None] * len(items)), self.given, strict=True
        ):
            if failure is not None:
                records.append(ItemRecord(listed, listed.item, failure=failure))
                continue
            answers = tuple(_answer(box, taxon) for box, taxon in regions)
            records.append(ItemRecord(listed, listed.item, None, f"{uri}{listed.item.frame}", 1, answers))
        self.store.commit(run, records)
        self.store.end_run(run, "finished", {})
        return self.store.run(run.id)

    def export(
        self, name: str = "out", *, force: bool = False, selection: Selection | None = None, **options: Any
    ) -> tuple[list[str], list[str]]:
        """Return the paths in a folder that passed its check, and what was reported."""
        export = Export(self.store, self.run(), ExportOptions(**options), selection or Selection())
        output = Path(name)
        with whole_folder(output, lambda: check_folder(output, force=force, others_in=EXPORTER.others)) as draft:
            EXPORTER.write(draft, export)
            assert EXPORTER.recognises(draft)
            assert list(EXPORTER.check(draft, export.options)) == []
        files = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if not path.is_dir())
        assert files.pop(files.index("manifest.csv"))
        assert sorted(row["path"] for row in manifest(output)) == files
        return files, list(export.findings.lines())


def _answer(box: Region, taxon: Taxon | None) -> RegionRecord:
    if not box.classified:
        return RegionRecord(box, None, None)
    best = Candidate(taxon or FOX, "species", 0.75)
    return RegionRecord(box, None, {"species": (best,)}, (), best if taxon else None)


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Photos]:
    monkeypatch.chdir(tmp_path)
    with Store.open(tmp_path / "results.db") as store:
        yield Photos(tmp_path, store)


def test_each_image_is_in_the_folder_of_its_taxon_or_verdict(photos: Photos) -> None:
    photos.add("photos/cam1/a.jpg", (FIRST, FOX))
    photos.add("photos/cam2/a.jpg", (FIRST, FOX), (SECOND, HARE))
    photos.add("photos/b.jpg")
    photos.add("photos/c.jpg", (FIRST, None))
    photos.add("photos/d.jpg", failure="it is cut off")
    files, found = photos.export()
    assert files == [
        "Lepus fictus/cam2__a.jpg", "Vulpes fictus/cam1__a.jpg", "Vulpes fictus/cam2__a.jpg", "blank/b.jpg", "failures/d.jpg",
        "unknown/c.jpg",
    ]  # fmt: skip
    assert found == []
    assert (photos.folder / "out/Vulpes fictus/cam1__a.jpg").read_bytes() == b"photos/cam1/a.jpg"
    assert {row["original"] for row in manifest(Path("out")) if row["uri"] == "photos/b.jpg"} == {
        str(photos.folder / "photos/b.jpg")
    }


@pytest.mark.parametrize(("by", "folder"), [("genus", "Vulpes"), ("family", "Canidae"), ("kingdom", "Animalia")])
def test_a_rank_gives_the_name_of_the_folders(photos: Photos, by: str, folder: str) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX))
    assert photos.export(folders_by=by)[0] == [f"{folder}/a.jpg"]


@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_links_and_copies_have_the_bytes_and_the_originals_stay(photos: Photos, link: str) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX))
    photos.export(link=link)
    made, original = Path("out/Vulpes fictus/a.jpg"), Path("photos/a.jpg")
    assert made.read_bytes() == original.read_bytes()
    assert (made.is_symlink(), made.samefile(original)) == (link == "symlink", link != "copy")
    made.unlink()
    assert original.exists()


def test_a_review_decides_on_the_folder(photos: Photos) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX))
    photos.add("photos/b.jpg", (FIRST, FOX))
    photos.run()
    photos.store.add_review(ReviewTarget("media", "photos/a.jpg"), "taxon", HARE, reviewer="Ann")
    photos.store.add_review(ReviewTarget("region", "photos/b.jpg", region=FIRST), "blank", reviewer="Ann")
    assert photos.export()[0] == ["Lepus fictus/a.jpg", "blank/b.jpg"]


def test_people_are_left_out_unless_they_are_asked_for(photos: Photos) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX), (PERSON, None))
    photos.add("photos/b.jpg", (replace(PERSON, confidence=0.1), None))
    files, found = photos.export()
    assert files == ["blank/b.jpg"]
    assert found == ["images show people and are left out; --show-people takes them too: 1 (the first: photos/a.jpg)"]
    assert photos.export("all", show_people=True)[0] == ["Vulpes fictus/a.jpg", "blank/b.jpg", "person/a.jpg"]


@pytest.mark.parametrize("name", [Taxon(genus="Homo", species="sapiens"), Taxon(common_name="Person")])
def test_people_that_the_model_names_are_left_out(photos: Photos, name: Taxon) -> None:
    photos.add("photos/a.jpg", (FIRST, name))
    photos.add("photos/b.jpg", (FIRST, FOX))
    assert photos.export()[0] == ["Vulpes fictus/b.jpg"]


def test_a_selection_never_hides_that_an_image_shows_people(photos: Photos) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX), (PERSON, None))
    photos.add("photos/b.jpg", (FIRST, FOX), (SECOND, HARE))
    assert photos.export(selection=Selection(taxa=("Vulpes",)))[0] == ["Vulpes fictus/b.jpg"]


def test_a_video_is_placed_once_for_all_its_frames(photos: Photos) -> None:
    photos.add("photos/v.mp4", frame=0)
    photos.add("photos/v.mp4", (FIRST, FOX), frame=30, real=False)
    photos.add("photos/v.mp4", (FIRST, FOX), frame=60, real=False)
    photos.add("photos/v.mp4", frame=90, failure="cut off", real=False)
    assert photos.export()[0] == ["Vulpes fictus/v.mp4"]


def test_missing_originals_are_reported_with_the_first(photos: Photos) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX))
    photos.add("photos/gone.jpg", (FIRST, FOX), real=False)
    photos.add("shard.tar#x.jpg", (FIRST, FOX), real=False)
    files, found = photos.export()
    assert files == ["Vulpes fictus/photos__a.jpg"]
    assert found[0].startswith("original files are not there and are left out: 1 (the first: photos/gone.jpg: ")
    assert found[1].startswith("images are not files of their own")


def test_names_that_fall_together_stay_two_files(photos: Photos) -> None:
    for name in ("photos/a__b.jpg", "photos/a/b.jpg", "photos/A/B.jpg"):
        photos.add(name, (FIRST, FOX))
    files, _ = photos.export()
    assert len({name.casefold() for name in files}) == 3
    assert {Path("out", name).read_bytes().decode() for name in files} == {
        "photos/a__b.jpg",
        "photos/a/b.jpg",
        "photos/A/B.jpg",
    }


def test_taxa_whose_names_fall_together_have_two_folders(photos: Photos) -> None:
    for number, genus in enumerate(("Aus/bus", "Aus:bus", "Blank")):
        photos.add(f"photos/{number}.jpg", (FIRST, replace(FOX, genus=genus, species="")))
    photos.add("photos/empty.jpg")
    folders = {name.partition("/")[0] for name in photos.export(folders_by="genus")[0]}
    assert {"Aus_bus", "blank"} < folders
    assert len(folders) == 4


def test_bytes_that_are_not_utf_8_in_a_name_do_not_stop_the_export(photos: Photos) -> None:
    photos.add(os.fsdecode(b"photos/K\xfchn.jpg"), (FIRST, FOX))
    files, _ = photos.export()
    assert len(files) == 1


def test_an_earlier_export_is_replaced_only_while_nobody_changed_it(photos: Photos) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX))
    photos.export(link="copy")
    photos.export(link="copy", force=True)
    with pytest.raises(BioclipError, match="exists already"):
        photos.export()
    Path("out/Vulpes fictus/mine.txt").write_text("notes")
    with pytest.raises(BioclipError, match=r"holds more than an earlier output \(Vulpes fictus/mine.txt\)"):
        photos.export(force=True)
    Path("out/Vulpes fictus/mine.txt").unlink()
    Path("out/Vulpes fictus/a.jpg").write_text("edited")
    with pytest.raises(BioclipError, match=r"Vulpes fictus/a.jpg"):
        photos.export(force=True)


def test_an_output_among_the_images_is_refused(photos: Photos) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX))
    with pytest.raises(BioclipError, match="would be listed as images too"):
        photos.export("photos/sorted")
    assert sorted(path.name for path in Path("photos").iterdir()) == ["a.jpg"]


def test_a_system_that_makes_no_links_is_reported_with_the_other_kinds(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    photos.add("photos/a.jpg", (FIRST, FOX))
    monkeypatch.setattr(Path, "symlink_to", refused)
    with pytest.raises(
        BioclipError,
        match=r"symlink of .* cannot be made: Operation not permitted; give --link hardlink or --link copy",
    ):
        photos.export()
    assert not Path("out").exists()


def test_a_broken_link_is_a_warning_and_a_missing_file_an_error(photos: Photos) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX))
    photos.add("photos/b.jpg", (FIRST, FOX))
    photos.export()
    Path("photos/a.jpg").unlink()
    Path("out/Vulpes fictus/b.jpg").unlink()
    problems = list(EXPORTER.check(Path("out"), ExportOptions()))
    assert [(one.severity, one.message) for one in problems] == [
        ("warning", "the link's original is not there any more"), ("error", "the file is missing"),
    ]  # fmt: skip


def test_a_packed_folder_holds_the_images_themselves(photos: Photos) -> None:
    photos.add("photos/a.jpg", (FIRST, FOX))
    photos.export()
    zip_folder(Path("out"), Path("out.zip"))
    with zipfile.ZipFile("out.zip") as packed:
        assert packed.read("Vulpes fictus/a.jpg") == b"photos/a.jpg"
    assert EXPORTER.recognises(Path("out.zip"))
    assert list(EXPORTER.check(Path("out.zip"), ExportOptions())) == []


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_a_safe_name_is_allowed_everywhere(text: str) -> None:
    name = safe_name(text)
    assert name
    assert len(name.encode()) <= 150
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert name not in (".", "..")
    assert not name.endswith((".", " "))
    assert name.partition(".")[0].casefold() not in ("con", "nul", "com1", "aux")
    assert safe_name(name) == name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="aA_/é", min_size=1, max_size=4), unique=True, max_size=12))
def test_no_two_files_have_one_name(paths: list[str]) -> None:
    with Names() as names:
        given_out = [names.file("x", path, path).casefold() for path in paths]
    assert len(set(given_out)) == len(paths)
