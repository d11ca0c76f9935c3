"""Deletion and compaction while other programs classify into the same store: nothing that they rely on goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_samples import PLAN, QUICK, STAT, answer_all, list_uris, record, region_record
from upkeep_samples import BOXES, Made, broken_references, make, plan_of

from bioclip_core.errors import StoreError
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.host import Session
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

PLAIN = {"rules": ["consensus"]}
SAME = Made(replace(plan_of(0, 0, 0, 0), rule_settings=PLAIN), {f"{n}.jpg": (f"sha-{n}", BOXES[:1]) for n in range(4)})
OTHER_PLAN = replace(SAME.plan, sources=("others",))


@pytest.fixture
def other(store: Store, store_address: str) -> Iterator[Store]:
    with Store.open(store_address, retry=QUICK) as opened:
        yield opened


def test_answers_that_a_program_is_about_to_reuse_stay(store: Store, other: Store) -> None:
    gone = make(store, SAME)
    run = other.begin_run(OTHER_PLAN)
    items = [MediaItem(f"{n}.jpg", regions=BOXES[:1]) for n in range(4)]
    listed = other.list_items(run, items, [STAT] * 4)
    known = other.answers(run, [one.media_id for one in listed])
    assert len(known) == 4
    store.delete_run(gone)
    store.compact()
    other.commit(
        run,
        [
            record(one, region_record(BOXES[0], features=None, by_rank=None), sha256=one.content_sha256)
            for one in listed
        ],
    )
    other.end_run(run, "finished", {})
    assert other.verify(run).complete
    assert [item.regions[0].by_rank for item in other.items_of(run)] == [
        known[one.media_id][0].by_rank for one in listed
    ]


def test_answers_that_went_before_a_program_listed_its_images_are_made_again(store: Store, other: Store) -> None:
    gone = make(store, SAME)
    run = other.begin_run(OTHER_PLAN)
    store.delete_run(gone)
    listed = list_uris(other, run, "0.jpg")
    assert listed[0].content_sha256 is None
    assert other.answers(run, [listed[0].media_id]) == {}
    answer_all(other, run, listed)
    assert other.verify(run).problems == []


def test_a_deletion_waits_for_a_writer_that_refers_to_what_it_would_remove(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = make(store, SAME)
    run = other.begin_run(OTHER_PLAN)
    (listed,) = list_uris(other, run, "new.jpg")  # with the content of 0.jpg, which only the other run has
    deletion = threading.Thread(target=store.delete_run, args=[gone])
    from bioclip_plugin.store import commits

    found = commits._contents

    def delete_now(connection: Any, records: Any) -> Any:
        numbers = found(connection, records)
        deletion.start()
        deletion.join(0.3)  # it has to wait: this transaction holds the number of the content
        assert deletion.is_alive()
        return numbers

    with monkeypatch.context() as patch:
        patch.setattr(commits, "_contents", delete_now)
        other.commit(run, [record(listed, region_record(BOXES[0]), sha256="sha-0")])
    deletion.join()
    other.end_run(run, "finished", {})
    assert other.verify(run).complete
    assert broken_references(store) == []
    assert store.runs() == [other.run(run.id)]


def test_features_of_an_equal_file_that_go_between_reading_and_commit_are_stored_again(
    tmp_path: Path, new_store_address: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / folder / "red.png")
    monkeypatch.chdir(tmp_path)
    manager, address = create_plugin_manager(installed=False), new_store_address()
    manager.register(FakeModel())
    request: dict[str, Any] = {
        "model": "fake",
        "labels": ["a red fish", "a blue fish"],
        "store": address,
        "plugins": manager,
    }
    commit = Store.commit

    def after_a_deletion(store: Store, run: Any, records: Any) -> None:
        with Store.open(address, retry=QUICK) as other:
            for earlier in other.runs():
                if earlier.id != run.id:
                    other.delete_run(earlier)
        commit(store, run, records)

    for folder in ("first", "second"):
        with Session(**request) as session:
            monkeypatch.setattr(Store, "commit", after_a_deletion)
            (answer,) = session.classify_stream([tmp_path / folder / "red.png"])
            assert answer.regions
    with Store.open(address) as store:
        assert store.verify(store.run()).complete


@pytest.mark.parametrize("work", ["delete", "compact"])
def test_programs_that_classify_and_one_that_removes_lose_nothing(store: Store, store_address: str, work: str) -> None:
    ended, problems = threading.Event(), []

    def classify(number: int) -> None:
        try:
            with Store.open(store_address, retry=QUICK) as mine:
                for turn in range(4):
                    layers = plan_of(0, turn % 2, 0, 0)
                    plan = replace(layers, rule_settings=PLAIN, sources=(f"{number} {turn}",))
                    made = make(mine, replace(SAME, plan=plan))
                    verified = mine.verify(made)
                    if not verified.complete:
                        problems.append(verified)
        except StoreError as error:
            if "was deleted while it was in use" not in str(error):  # ended, and deleted before it was verified
                problems.append(error)

    def remove() -> None:
        try:
            with Store.open(store_address, retry=QUICK) as mine:
                while not ended.is_set():
                    for run in mine.runs():
                        if work == "compact":
                            mine.compact()
                        elif run.status == "finished" and run.sources[0].endswith(("0", "2")):
                            mine.delete_run(run)
        except StoreError as error:
            if "is being worked on" not in str(error):
                problems.append(error)

    threads = [threading.Thread(target=classify, args=[number]) for number in range(2)]
    remover = threading.Thread(target=remove)
    for thread in (*threads, remover):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    remover.join()
    assert problems == []
    assert broken_references(store) == []
    assert all(store.verify(run).complete for run in store.runs())


def test_a_store_works_on_more_runs_than_it_has_connections(store: Store) -> None:
    runs = [store.begin_run(replace(PLAN, sources=(str(number),))) for number in range(20)]
    with pytest.raises(StoreError, match="worked on"):
        store.delete_run(runs[7])
    for run in runs:
        store.end_run(run, "interrupted", {})
    assert store.delete_runs(runs).rows["runs"] == 20


def test_a_killed_servers_mark_is_made_again(postgres_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioclip_plugin.store.database.holds._CHECKED_EVERY_S", 0.0)
    address = postgres_server.address(postgres_server.new_database())
    with Store.open(address, retry=QUICK) as mine, Store.open(address, retry=QUICK) as other:
        run = mine.begin_run(PLAN)
        name = mine._database.url.database
        postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        listed = list_uris(mine, run, "a.jpg")
        with pytest.raises(StoreError, match="worked on"):
            other.delete_run(run)
        answer_all(mine, run, listed)
        mine.end_run(run, "finished", {})
        other.delete_run(run)
