"""Runs opened from their stores on both databases: columns, live runs, reviews, and what is kept beside the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from store_samples import LYNX, PLAN, QUICK, STAT, failed, list_uris, record, region_record

from bioclip_core.classify import Candidate
from bioclip_core.errors import BioclipError, StoreError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.browsing import keeping, reading
from bioclip_plugin.browsing.columns import UNKNOWN_MOMENT, VERDICTS
from bioclip_plugin.browsing.query import ViewQuery
from bioclip_plugin.browsing.view import RunView
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.store import ReviewTarget, Run, Store
from bioclip_plugin.store.records import StatedReview, StoredDecision

FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "ficta", "invented fox")
ONE, TWO = (
    Region(0.1, 0.1, 0.2, 0.2, "finder", "2", "animal", 0.9),
    Region(0.6, 0.6, 0.2, 0.2, "finder", "2", "animal", 0.8),
)
MAN = Region(0.4, 0.1, 0.1, 0.3, "finder", "2", "person", 0.7, classified=False)
FAINT = Region(0.0, 0.8, 0.1, 0.1, "finder", "2", "animal", 0.05, classified=False)
PLAN_WITH_RANK = replace(PLAN, answer_settings={"labels": "l1", "rank": "species"})


@pytest.fixture
def store(store_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    with Store.open(store_address, retry=QUICK) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    """A run with every kind of row."""
    run = store.begin_run(PLAN_WITH_RANK)
    items = [
        MediaItem("cam/b.jpg", captured_at=datetime(2026, 5, 1, 23, 5), deployment="north", sequence="s1"),
        MediaItem("cam/a.jpg", captured_at=datetime(2026, 5, 1, 23, 6, tzinfo=UTC), deployment="south", sequence="s1"),
        MediaItem("cam/d.jpg", regions=(ONE, TWO, MAN, FAINT), detected=True),
        MediaItem("cam/c.jpg", regions=(FAINT,), detected=True),
        MediaItem("cam/e.jpg"),
        MediaItem("cam/f.jpg"),
        MediaItem("cam/g.jpg"),
    ]
    listed = store.list_items(run, items, [STAT] * len(items))
    unsure = region_record(consensus=None, flags=("prior_ignored", "odd"))
    fox = region_record(
        TWO, by_rank={"species": (Candidate(FOX, "species", 0.9),)}, consensus=Candidate(FOX, "species", 0.9)
    )
    none = {"features": None, "by_rank": None, "consensus": None}
    store.commit(run, [
        record(listed[0], region_record()),
        record(listed[1], unsure),
        record(listed[2], region_record(ONE), fox, region_record(MAN, **none), region_record(FAINT, **none)),
        record(listed[3], region_record(FAINT, **none)),
        failed(listed[4], "file 'cam/e.jpg' is empty"),
        failed(listed[5], "file 'cam/f.jpg' is empty"),
    ])  # fmt: skip
    return run


def told(view: RunView) -> list[tuple[str, str, str, str]]:
    """Return name, verdict, decided taxon, reviewed verdict or taxon of each row."""
    return [
        (
            one.name, one.verdict or one.failure, one.taxon.name if one.taxon else "",
            "" if one.review is None else one.reviewed_taxon.name if one.reviewed_taxon else one.review.verdict,
        )
        for one in view.entries(range(len(view.columns)))
    ]  # fmt: skip


def test_a_run_has_one_row_per_region_and_one_per_image_without_any(store: Store, run: Run) -> None:
    with RunView.open(store) as view:
        assert told(view) == [
            ("b.jpg", "taxon", "Felidae", ""),
            ("a.jpg", "unknown", "", ""),
            ("d.jpg", "taxon", "Felidae", ""),
            ("d.jpg", "taxon", "Vulpes ficta", ""),
            ("d.jpg", "person", "", ""),
            ("c.jpg", "blank", "", ""),
            ("e.jpg", "decode: file 'cam/e.jpg' is empty", "", ""),
            ("f.jpg", "decode: file 'cam/e.jpg' is empty", "", ""),
        ]
        columns = view.columns
        assert columns.cameras == ("north", "south")
        assert columns.position_N.tolist() == [1, 2, 3, 3, 3, 4, 5, 6]
        assert columns.name_N.tolist() == [1, 0, 3, 3, 3, 2, 4, 5]
        assert (columns.region_N > 0).tolist() == [True] * 5 + [False] * 3
        assert columns.margin_N[:2].tolist() == [0.5, 0.5]
        assert np.isnan(columns.margin_N[3:]).all()
        assert columns.best_N[[0, 3]].tolist() == pytest.approx([0.75, 0.9])
        assert np.isnan(columns.best_N[4:]).all()
        assert columns.moment_N.tolist()[2:] == [UNKNOWN_MOMENT] * 6
        assert (columns.hours.tolist()[:2], columns.days.tolist()[:2]) == ([23, 23], [20_574, 20_574])
        assert columns.event_N.tolist() == [0, 0] + [-1] * 6
        assert view.rows(ViewQuery(flags=("prior_ignored",), verdicts=("unknown",))).tolist() == [1]
        assert view.rows(ViewQuery(sort="name")).tolist() == [1, 0, 5, 2, 3, 4, 6, 7]
        boxes = [one.box for one in view.entries([2, 4, 0, 6])]
        assert boxes == [(0.1, 0.1, 0.2, 0.2), (0.4, 0.1, 0.1, 0.3), None, None]
        assert [view.row_of(entry.key) for entry in view.entries(range(8))] == list(range(8))


def test_columns_say_the_same_as_the_stores_own_reading(store: Store, run: Run) -> None:
    """The reference is the slow way: each item with its regions as exports get them."""
    wanted = [
        (stored.item.uri, region.decision.verdict if region.decision else "", region.consensus)
        for stored in store.items_of(run)
        for region in stored.regions
        if region.region != FAINT and region.region != MAN
    ]
    with RunView.open(store) as view:
        entries = [one for one in view.entries(range(len(view.columns))) if one.key.region and one.verdict != "person"]
    assert [(one.uri, one.verdict, one.taxon.name if one.taxon else None) for one in entries] == [
        (uri, verdict, found.taxon.name if found else None) for uri, verdict, found in wanted
    ]


def test_a_run_that_another_program_writes_to_grows_and_only_changed_blocks_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 4)
    blocks: list[int] = []
    read = reading.read_block
    monkeypatch.setattr("bioclip_plugin.browsing.run_rows.BLOCK", 4)
    monkeypatch.setattr("bioclip_plugin.browsing.keeping.BLOCK", 4)

    def noted(connection, run, block, vocabulary):  # type: ignore[no-untyped-def]
        blocks.append(block)
        return read(connection, run, block, vocabulary)

    monkeypatch.setattr("bioclip_plugin.browsing.run_rows.read_block", noted)
    run = store.begin_run(PLAN_WITH_RANK)
    listed = list_uris(store, run, *(f"{number:02}.jpg" for number in range(12)))
    with RunView.open(store) as view, Store.open(store._database.url.render_as_string(hide_password=False)) as other:
        assert len(view.columns) == 0
        assert not view.refresh()
        other.commit(run, [record(one, region_record()) for one in (listed[0], listed[9])])
        assert view.refresh()
        assert not view.refresh()
        page = view.page(ViewQuery(), size=1)
        other.commit(run, [record(listed[1], region_record())])
        assert view.refresh()
        assert [one.name for one in view.entries(view.page(ViewQuery(), after=page.next).rows)] == ["01.jpg", "09.jpg"]
        assert blocks == [0, 2, 0]
        list_uris(other, run, "09.jpg", stat=(5, 5))  # changed, so that it is to do again
        assert view.refresh()
        assert [one.name for one in view.entries(range(2))] == ["00.jpg", "01.jpg"]
        other.end_run(run, "finished", {})
        assert view.refresh(), "rules decide at the end"
        assert view.count(ViewQuery(failures="only")) == 10
        assert not view.refresh()
        list_uris(other, other.begin_run(replace(PLAN_WITH_RANK, sources=("other",))), "00.jpg", stat=(5, 5))
        assert view.refresh(), "an image that another run found changed is to do again in this one, too"
        assert view.count(ViewQuery(failures="no")) == 1


def test_decisions_that_rules_change_at_the_end_of_a_run_show(store: Store, run: Run) -> None:
    with RunView.open(store) as view:
        numbers = [region.region_id for stored in store.items_of(run) for region in stored.regions if region.classified]
        store.deciding(run).write({number: StoredDecision("blank", None, "night") for number in numbers})
        store.end_run(run, "finished", {})
        assert view.refresh()
        assert view.count(ViewQuery(verdicts=("blank",), event="night")) == 4


def say(
    store: Store, kind: str, uri: str = "", verdict: ReviewVerdict = "blank", taxon: Taxon | None = None, *, region: Region | None = None,
    uid: str, minute: int = 0, undoes: str = "", by: str = "Ada",
) -> None:  # fmt: skip
    target = ReviewTarget("event", event=uri) if kind == "event" else ReviewTarget(kind, uri, region=region)  # type: ignore[arg-type]
    details = {"undoes": undoes} if undoes else {}
    when = datetime(2026, 6, 1, 12, minute, tzinfo=UTC)
    store.add_reviews([StatedReview(target, verdict, taxon, by, when, details=details, uid=uid)])


def test_reviews_of_other_programs_show_and_can_be_undone(store: Store, run: Run) -> None:
    def reviews() -> list[str]:
        return [said for *_, said in told(view)]

    with RunView.open(store) as view:
        say(store, "event", "s1", "vehicle", uid="1")
        say(store, "media", "cam/a.jpg", "taxon", LYNX, uid="2", minute=1)
        say(store, "media", "cam/d.jpg", "person", uid="3", minute=2)
        say(
            store, "region", "cam/d.jpg", "taxon", Taxon(genus="Vulpes", species="ficta"), region=ONE, uid="4", minute=3
        )
        say(store, "media", "cam/e.jpg", "unidentifiable", uid="5", minute=4)
        assert view.refresh()
        assert reviews() == ["vehicle", "Lynx fictus", "Vulpes ficta", "person", "person", "", "unidentifiable", ""]
        assert not view.refresh()
        canidae = "Animalia/Chordata/Mammalia/Carnivora/Canidae"
        assert view.rows(ViewQuery(taxon=canidae)).tolist() == [2], (
            "a short name joins the whole lineage, and a review replaces"
        )
        assert view.rows(ViewQuery(taxon=canidae, named="decision")).tolist() == [3]
        assert view.rows(ViewQuery(sort="reviewed_at", reviewed="yes", descending=True)).tolist()[:2] == [6, 2]
        say(store, "region", "cam/d.jpg", "blank", region=ONE, uid="6", minute=5, by="Ben")
        say(store, "media", "cam/a.jpg", "blank", uid="7", minute=6, undoes="2")
        assert view.refresh()
        assert reviews()[:3] == ["vehicle", "vehicle", "blank"], (
            "an image counts by its event when its own review is undone"
        )
        say(store, "region", "cam/d.jpg", "blank", region=ONE, uid="8", minute=7, undoes="6")
        say(store, "media", "cam/a.jpg", "blank", uid="9", minute=8, undoes="7")
        assert view.refresh()
        assert reviews()[:3] == ["vehicle", "Lynx fictus", "Vulpes ficta"]


def test_a_box_that_a_reviewer_drew_is_about_the_region_that_it_overlaps(store: Store, run: Run) -> None:
    about_two, elsewhere = Region(0.58, 0.6, 0.2, 0.2), Region(0.3, 0.7, 0.05, 0.05)
    say(store, "region", "cam/d.jpg", "taxon", LYNX, region=about_two, uid="1")
    say(store, "region", "cam/d.jpg", "person", region=elsewhere, uid="2")
    say(store, "region", "cam/b.jpg", "taxon", FOX, region=elsewhere, uid="3")
    with RunView.open(store) as view:
        said = [review for *_, review in told(view)]
    assert said == ["Vulpes ficta", "", "", "Lynx fictus", "", "", "", ""], "a whole image has its one animal anywhere"


def test_a_review_that_came_late_or_was_deleted_by_hand_changes_the_view(store: Store, run: Run) -> None:
    for number, uri in enumerate(("cam/a.jpg", "cam/b.jpg", "cam/d.jpg")):
        say(store, "media", uri, uid=str(number))
    with RunView.open(store) as view:
        view._reviews.rows.pop(1)  # as if its transaction had ended after that of the third
        assert view.refresh()
        assert view.count(ViewQuery(reviewed="yes")) == 5
        with store._database._engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM bioclip_reviews WHERE uid = '0'")
        assert view.refresh()
        assert view.count(ViewQuery(reviewed="yes")) == 4


def kept_file(store: Store, run: Run) -> Path:
    return keeping.folder_of(store) / f"run-{run.id}.npz"


def test_kept_columns_are_used_again_and_damaged_or_older_ones_are_made_again(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunView.open(store) as view:
        wanted, file = told(view), kept_file(store, run)
        first = view.columns.arrays
    good = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("bioclip_plugin.browsing.run_rows.read_block", None)
        with RunView.open(store) as view:
            assert view.notes == []
            assert told(view) == wanted
            assert all(
                np.array_equal(first[name], array, equal_nan=array.dtype.kind == "f")
                for name, array in view.columns.arrays.items()
            )
    middle = len(good) // 2
    for damage in (
        b"",
        good[:-40],
        good[: len(good) // 3],
        good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :],
        b"x" * 500,
    ):
        file.write_bytes(damage)
        with RunView.open(store) as view:
            assert told(view) == wanted
            assert [note for note in view.notes if "made again" in note], damage[:20]
        assert len(file.read_bytes()) == len(good)
    monkeypatch.setattr(keeping, "FORMAT", 2)
    with RunView.open(store) as view:
        assert "format 1, not 2" in view.notes[0]
        assert told(view) == wanted


def test_a_run_that_was_deleted_is_reported_and_another_one_of_its_number_is_not_mistaken_for_it(
    store: Store, run: Run
) -> None:
    with RunView.open(store, run.id) as view:
        store.end_run(run, "finished", {})
        store.delete_run(run)
        with pytest.raises(StoreError):
            view.refresh()
        assert view.count(ViewQuery()) == 8, "what is shown stays until the user leaves"
    store.compact()
    again = store.begin_run(PLAN_WITH_RANK)
    old = kept_file(store, run)
    if again.id != run.id:
        shutil.copy(old, kept_file(store, again))
    store.commit(again, [record(one, region_record()) for one in list_uris(store, again, "new.jpg")])
    with RunView.open(store, again.id) as view:
        assert [name for name, *_ in told(view)] == ["new.jpg"]
    assert keeping.forget_others(keeping.folder_of(store), []) >= 1
    assert not old.exists()


def test_a_view_works_after_a_compaction(store: Store, run: Run) -> None:
    with RunView.open(store, run.id) as view:
        wanted = told(view)
        store.end_run(run, "interrupted", {})
        store.compact()
        view.refresh()
        assert told(view) == wanted


def test_a_disk_without_room_is_reported_and_the_view_works_in_memory(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with RunView.open(store) as view:
        assert len(told(view)) == 8
        assert ["in memory" in note for note in view.notes] == [True]
    folder = keeping.folder_of(store)
    assert list(folder.iterdir()) == [], "no draft is left"


def test_an_unknown_run_is_refused(store: Store) -> None:
    with pytest.raises(BioclipError, match="no runs"):
        RunView.open(store)


def test_verdicts_without_a_taxon_and_unknown_words_of_other_programs_are_shown(store: Store, run: Run) -> None:
    with store._database._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE bioclip_media SET captured_at = 'yesterday' WHERE uri = 'cam/b.jpg'")
    with RunView.open(store) as view:
        assert view.columns.moment_N[0] == UNKNOWN_MOMENT
        assert view.columns.moment_N[1] != UNKNOWN_MOMENT
        assert VERDICTS[view.columns.verdict_N[0]] == "taxon"
        assert view.entries([0])[0].captured_at is None


def test_a_table_of_deployments_gives_cameras_and_corrected_times_and_may_be_gone_later(
    store: Store, tmp_path: Path
) -> None:
    table = tmp_path / "deployments.csv"
    table.write_text("deploymentID,clock_shift\ncam1,+1h\ncam2,\n")
    run = store.begin_run(replace(PLAN_WITH_RANK, settings={"deployments": str(table)}))
    items = [MediaItem(f"{folder}/a.jpg", captured_at=datetime(2026, 5, 1, 6)) for folder in ("cam1", "cam2")]
    store.commit(run, [record(one, region_record()) for one in store.list_items(run, items, [STAT] * 2)])
    with RunView.open(store) as view:
        assert [(one.camera, one.captured_at) for one in view.entries([0, 1])] == [
            ("cam1", datetime(2026, 5, 1, 7)), ("cam2", datetime(2026, 5, 1, 6)),
        ]  # fmt: skip
        table.unlink()
        assert view.refresh()
        assert [one.camera for one in view.entries([0, 1])] == ["cam1", "cam2"], "their folders"
        assert view.entries([0])[0].captured_at == datetime(2026, 5, 1, 6)
        assert any("cannot be used" in note for note in view.notes)
