"""Exports that come back to ``review import``: unchanged rows are already stored, changed rows are new."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from pyarrow import parquet

from bioclip_core.taxonomy import Taxon
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.review_rows import NotTaken
from bioclip_plugin.formats.tables.write import CsvExporter
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.reviews.importing import Imported, ImportOptions, _image_names, import_reviews
from bioclip_plugin.reviews.names import NameBook, StoredNames
from bioclip_plugin.store import Review, ReviewTarget, RunPlan, Store
from bioclip_plugin.store.records import StatedReview
from bioclip_plugin.testing import FakeModel

BOXES = ((0.1, 0.2, 0.3, 0.4), (0.333333333, 0.1, 0.5, 0.7))
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "-green": (0, 255, 0)}
AT = datetime(2031, 5, 6, 12, 0, 0, 123456, UTC)
Rows = list[dict[str, str]]


@dataclass
class Place:
    """Store with images of two boxes each, and files beside it."""

    store: Store
    folder: Path
    command: Callable[..., int]
    refused: list[NotTaken] = field(default_factory=list)

    def say(self, image: str, verdict: str, taxon: Taxon | None = None, *, comment: str = "", who: str = "Ann") -> None:
        self.store.add_review(
            ReviewTarget("media", image), verdict, taxon, reviewer=who, reviewed_at=AT, comment=comment  # type: ignore[arg-type]
        )  # fmt: skip

    def export(self, name: str, *options: str) -> Rows:
        kind = Path(name).suffix[1:]
        assert self.command("export", "--store", "results.db", "--output", name, "--format", kind, *options) == 0
        if name.endswith(".parquet"):
            return list(parquet.read_table(self.folder / name).to_pylist())
        with (self.folder / name).open(encoding="utf-8", newline="") as text:
            return list(csv.DictReader(text))

    def edited(self, name: str, rows: Rows, without: tuple[str, ...] = ()) -> str:
        with (self.folder / name).open("w", encoding="utf-8", newline="") as text:
            table = csv.DictWriter(text, [column for column in rows[0] if column not in without], extrasaction="ignore")
            table.writeheader()
            table.writerows(rows)
        return name

    def take(self, name: str, reviewer: str = "", folder: Path | None = None) -> tuple[int, int, int, int]:
        """Return the numbers of imported rows, of rows already stored, without a review, and refused."""
        book, options = NameBook(StoredNames(self.store)), ImportOptions(reviewer, folder)
        done: Imported = import_reviews(name, self.store, [], book, options, self.refused.append)
        return done.new, done.there, done.unsaid, done.refusals

    def reviews(self) -> list[Review]:
        return list(self.store.reviews())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOCLIP_CONFIG", raising=False)
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))

    def command(*arguments: str) -> int:
        return run(list(arguments), manager=manager)

    Path("taxa.csv").write_text(
        "kingdom,family,genus,specificEpithet\n"
        "Fictia,Warmidae,Red,fictus\nFictia,Coldidae,Green,fictus\nFictia,Coldidae,Blue,pictus\n"
    )
    lines = ["uri,bboxX,bboxY,bboxWidth,bboxHeight"]
    for name, colour in COLOURS.items():
        Image.new("RGB", (20, 10), colour).save(f"{name}.png")
        lines += [f"{name}.png,{','.join(map(str, box))}" for box in BOXES]
    Path("boxes.csv").write_text("\n".join(lines))
    assert command("labels", "build", "taxa.csv", "--model", "fake", "--output", "labels") == 0
    assert command("classify", "boxes.csv", "--model", "fake", "--labels", "labels", "--store", "results.db") == 0
    with Store.open("results.db") as store:
        yield Place(store, tmp_path, command)


RED = Taxon(kingdom="Fictia", family="Warmidae", genus="Red", species="fictus")


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize(
    ("selection", "shown"),
    [((), ["taxon", "taxon", "blank", "blank", "", ""]), (("--taxon", "Coldidae"), ["blank", "blank", "", ""])],
)
def test_a_review_of_an_image_that_its_boxes_show_is_already_stored(
    place: Place, name: str, selection: tuple[str, ...], shown: list[str]
) -> None:
    place.say("red.png", "taxon", RED, comment="=a  clear\none")
    place.say("blue.png", "blank")
    assert [row["review_verdict"] or "" for row in place.export(name, *selection)] == shown
    before = place.reviews()
    assert place.take(name) == (0, len(shown) - 2, 2, 0)
    assert place.reviews() == before


def test_an_export_is_already_stored_despite_newer_reviews(place: Place) -> None:
    place.say("red.png", "blank")
    place.export("out.csv")
    place.store.add_review(ReviewTarget("media", "red.png"), "taxon", RED, reviewer="Bo")
    assert place.take("out.csv") == (0, 2, 4, 0)


def test_a_name_that_cannot_be_looked_up_again_is_already_stored(place: Place) -> None:
    # a homonym of a taxon in the label set
    twin = Taxon(kingdom="Animalia", family="Warmidae", genus="Red", species="fictus")
    place.say("red.png", "taxon", twin)
    place.say("blue.png", "taxon", RED)
    place.export("out.csv")
    assert place.take("out.csv") == (0, 4, 2, 0), place.refused


@pytest.mark.parametrize(
    "edit",
    [
        {"review_verdict": "person"},
        {"review_verdict": "taxon", "review_scientific_name": "Red fictus"},
        {"reviewer": "Bo"},
        {"reviewed_at": "2031-05-07T12:00:00+00:00"},
        {"reviewed_at": ""},
        {"review_comment": "a tail"},
        {"review_comment": ""},
    ],
    ids=str,
)
def test_an_edited_row_is_a_review_of_its_box(place: Place, edit: dict[str, str]) -> None:
    place.say("red.png", "blank", comment="dark")
    rows = place.export("out.csv")
    rows[1] |= edit
    assert place.take(place.edited("edited.csv", rows)) == (1, 1, 4, 0)
    new = place.reviews()[-1]
    assert new.target.region is not None
    assert new.target.region.xywh == pytest.approx(BOXES[1], abs=1e-4)
    assert place.take("edited.csv") == (0, 2, 4, 0)
    place.export("again.csv")
    assert place.take("again.csv") == (0, 2, 4, 0)


def test_columns_that_were_taken_out_do_not_make_a_row_new(place: Place) -> None:
    place.say("red.png", "taxon", RED, comment="clear")
    rows = place.export("out.csv")
    short = place.edited("short.csv", rows, without=("reviewed_at", "review_comment", "reviewer"))
    assert place.take(short) == (0, 2, 4, 0)
    assert place.take(short, reviewer="Bo") == (2, 0, 4, 0)  # each box now counts as reviewed by this person


def test_an_export_without_its_status_is_still_one_of_ours(place: Place) -> None:
    place.say("red.png", "blank")
    short = place.edited("short.csv", place.export("out.csv"), without=("status",))
    assert place.take(short, reviewer="Ann") == (0, 2, 4, 0)  # the model's answers are not imported as reviews either


def test_an_image_whose_name_looks_like_a_formula_is_found_again(place: Place) -> None:
    place.say("-green.png", "person")
    assert place.export("out.csv")[-1]["uri"] == "'-green.png"
    assert place.take("out.csv") == (0, 2, 4, 0), place.refused


def test_the_same_words_for_image_and_box_in_another_table_are_two_reviews(place: Place) -> None:
    cells = "red.png,{},blank,Ann,2031-05-06\n"
    Path("r.csv").write_text("uri,bbox,verdict,reviewer,reviewedAt\n" + cells.format("") + cells.format("0 0 0.1 0.1"))
    assert place.take("r.csv") == (2, 0, 0, 0)


def test_a_missing_image_is_named_once_with_a_hint(place: Place) -> None:
    Path("r.csv").write_text("image,verdict,reviewer\ncamA/x.jpg,blank,Ann\nhttps://there.org/y.jpg,blank,Ann\n")
    assert place.take("r.csv") == (0, 0, 0, 2)
    near, web = (row.reason for row in place.refused)
    assert near == "the store has no 'camA/x.jpg'; --base-folder says where the names of images begin"
    assert web == "the store has no 'https://there.org/y.jpg'"
    place.refused.clear()
    place.take("r.csv", folder=Path("photos"))
    assert "neither 'camA/x.jpg' nor 'photos/camA/x.jpg'; --base-folder" in place.refused[0].reason


def test_reviews_are_asked_for_a_batch_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = RunPlan(
        sources=("p",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
        answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={},
    )  # fmt: skip
    names = [f"{n}.jpg" for n in range(1200)]
    asked: list[int] = []
    with Store.open(tmp_path / "results.db") as store:
        store.list_items(store.begin_run(plan), [MediaItem(name) for name in names], [None] * len(names))
        store.add_reviews([StatedReview(ReviewTarget("media", name), "blank", None, "Ann", AT) for name in names])
        header = (
            "uri,region_x,region_y,region_w,region_h,status,review_verdict,review_scientific_name,reviewer,reviewed_at"
        )
        rows = [f"{name},0.1,0.1,0.2,0.2,done,blank,,Ann,{AT.isoformat()}" for name in names]
        (tmp_path / "out.csv").write_text("\n".join([header, *rows]))
        found = store.reviews_of

        def counted(media: Sequence[tuple[str, int]], *, undone: bool) -> dict[tuple[str, int], list[Review]]:
            asked.append(len(media))
            return found(media, undone=undone)

        monkeypatch.setattr(store, "reviews_of", counted)
        done = import_reviews(
            str(tmp_path / "out.csv"), store, [], NameBook(StoredNames(store)), ImportOptions(), lambda row: None
        )
    assert (done.new, done.there) == (0, 1200)
    assert asked == [500, 500, 200]


PLAN = RunPlan(
    sources=("photos",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={"model": {"name": "fake"}},
)  # fmt: skip
NAMES = (
    "=a.png",
    "'=b.png",
    "''=c.png",
    "'d.png",
    "two\nlines.png",
    'a "b", c;d.png',
    "-e|f.png",
    " g .png",
    "h\r.png",
)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_images_of_any_name_come_back(tmp_path: Path, suffix: str) -> None:
    manager = create_plugin_manager(installed=False)
    exporter = manager.exporters()[suffix]
    with Store.open(tmp_path / "results.db") as store:
        run_of_all = store.begin_run(PLAN)
        store.list_items(run_of_all, [MediaItem(name) for name in NAMES], [None] * len(NAMES))
        for name in NAMES:
            store.add_review(ReviewTarget("media", name), "blank", reviewer="=Ann", reviewed_at=AT, comment=f"'={name}")
        written = tmp_path / f"out.{suffix}"
        exporter.write(written, Export(store, store.run()))
        assert list(exporter.check(written, ExportOptions())) == []
        refused: list[NotTaken] = []
        with Store.open(tmp_path / "other.db") as other:
            again = other.begin_run(PLAN)
            other.list_items(again, [MediaItem(name) for name in NAMES], [None] * len(NAMES))
            book = NameBook(StoredNames(other))
            done = import_reviews(str(written), other, manager.sources(), book, ImportOptions(), refused.append)
            found = [(review.target.uri, review.reviewer, review.comment) for review in other.reviews()]
        assert refused == []
        assert done.new == len(NAMES)
        assert found == [(name, "=Ann", f"'={name}") for name in NAMES]
        source = next(one for one in manager.sources() if one.takes(str(written)))
        listed = list(source.items(str(written), ListingOptions(base_folder=Path())))
        assert [item.uri for item in listed] == list(NAMES)


def test_a_table_of_events_reviews_events(tmp_path: Path) -> None:
    manager = create_plugin_manager(installed=False)
    with Store.open(tmp_path / "results.db") as store:
        begun = store.begin_run(PLAN)
        items = [MediaItem("a.jpg", sequence="night 1"), MediaItem("b.jpg", sequence="night 1"), MediaItem("c.jpg")]
        store.list_items(begun, items, [None] * 3)
        written = tmp_path / "events.csv"
        CsvExporter().write(written, Export(store, store.run(), ExportOptions(per="event")))
        with written.open(encoding="utf-8", newline="") as text:
            rows = [{**row, "review_verdict": "blank", "reviewer": "Ann"} for row in csv.DictReader(text)]
        with written.open("w", encoding="utf-8", newline="") as text:
            table = csv.DictWriter(text, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        refused: list[NotTaken] = []
        book = NameBook(StoredNames(store))
        import_reviews(str(written), store, manager.sources(), book, ImportOptions(), refused.append)
        assert refused == []
        assert [(one.target.kind, one.target.event or one.target.uri) for one in store.reviews()] == [
            ("event", "night 1"), ("media", "c.jpg"),
        ]  # fmt: skip


def test_an_image_is_looked_for_in_both_unicode_forms() -> None:
    """A Mac decomposes the names of its files, and a spreadsheet composes them."""
    composed, decomposed = "f\u00f8x \u00e9.jpg", "f\u00f8x e\u0301.jpg"
    assert decomposed in _image_names([composed], Path("photos"))
    assert composed in _image_names([decomposed], Path("photos"))
