"""Runs: begun, resumed, ended, listed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_samples import PLAN, list_uris

from bioclip_core.errors import StoreError
from bioclip_plugin.store import Run, Store


def test_a_run_gives_back_its_settings(store: Store) -> None:
    run = store.begin_run(PLAN)
    assert not run.resumed
    assert (run.status, run.sources, run.dimension) == ("running", ("photos",), 4)
    assert (run.feature_id, run.answer_id, run.rule_id) == ("f1", "a1", "r1")
    assert run.feature_settings == {"weights_sha256": "w1", "precision": "fp32"}
    assert (run.answer_settings, run.rule_settings) == ({"labels": "l1"}, {"threshold": 0.8})
    assert (run.settings, run.provenance, run.counts) == ({"batch_size": 64}, {"host": "one"}, {})
    assert store.run(run.id) == run
    assert run.created_at.utcoffset() is not None


def test_the_same_sources_and_rules_take_the_run_up_again(store: Store, run: Run) -> None:
    store.end_run(run, "interrupted", {"done": 3})
    assert store.run().status == "interrupted"
    again = store.begin_run(replace(PLAN, settings={"batch_size": 8}, provenance={"host": "two"}))
    assert (again.id, again.resumed, again.status, again.ended_at) == (run.id, True, "running", None)
    assert again.settings == {"batch_size": 8}
    assert again.provenance == {"host": "two"}
    assert again.earlier_provenance == ({"host": "one"},)
    assert len(store.runs()) == 1


def test_taking_a_run_up_a_thousand_times_keeps_its_first_provenance_and_a_bounded_number(store: Store) -> None:
    for host in range(60):
        run = store.begin_run(replace(PLAN, provenance={"host": host}))
    assert run.provenance == {"host": 59}
    assert len(run.earlier_provenance) == 50
    assert run.earlier_provenance[0] == {"host": 0}
    assert run.earlier_provenance[-1] == {"host": 58}


@pytest.mark.parametrize("change", [{"sources": ("other",)}, {"sources": ("pho", "tos")}, {"rule_id": "r2"}])
def test_other_sources_or_rules_are_another_run_over_the_same_layers(store: Store, run: Run, change: dict) -> None:
    other = store.begin_run(replace(PLAN, **change))
    assert other.id != run.id
    assert not other.resumed
    assert (other.feature_set, other.answer_set) == (run.feature_set, run.answer_set)


def test_an_ended_run_keeps_its_counts_and_time(store: Store, run: Run) -> None:
    store.end_run(run, "finished", {"done": 2, "failed": {"decode": 1}})
    ended = store.run(run.id)
    assert (ended.status, ended.counts) == ("finished", {"done": 2, "failed": {"decode": 1}})
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.begun_at


def test_the_latest_run_is_the_one_begun_last(store: Store, run: Run) -> None:
    other = store.begin_run(replace(PLAN, rule_id="r2"))
    assert store.run().id == other.id
    store.begin_run(PLAN)
    assert store.run().id == run.id
    assert [one.id for one in store.runs()] == [run.id, other.id]


def test_a_store_without_runs_says_how_to_make_one(store: Store) -> None:
    with pytest.raises(StoreError, match="no runs in this store yet: `classify` makes one"):
        store.run()


def test_an_unknown_run_is_refused_with_those_there_are(store: Store, run: Run) -> None:
    with pytest.raises(StoreError, match=f"no run 77 .* latest are {run.id} "):
        store.run(77)


def test_feature_settings_of_the_same_weights_come_back_the_last_used_first(store: Store, run: Run) -> None:
    half = {"weights_sha256": "w1", "precision": "bf16"}
    store.begin_run(replace(PLAN, feature_id="f2", feature_settings=half, answer_id="a2", rule_id="r2"))
    others = {"weights_sha256": "w2"}
    store.begin_run(replace(PLAN, feature_id="f3", feature_settings=others, answer_id="a3", rule_id="r3"))
    assert [settings["precision"] for settings in store.last_feature_settings("w1")] == ["bf16", "fp32"]
    store.begin_run(PLAN)
    assert [settings["precision"] for settings in store.last_feature_settings("w1")] == ["fp32", "bf16"]
    assert store.last_feature_settings("unknown") == []


def test_items_still_open_when_a_run_is_finished_become_failures(store: Store, run: Run) -> None:
    list_uris(store, run, "gone.jpg")
    store.end_run(run, "interrupted", {})
    assert store.summary(run).todo == 1
    store.end_run(run, "finished", {})
    assert (store.summary(run).todo, store.summary(run).failed) == (0, 1)
    assert "not in the listing any more" in next(store.failures(run)).failure.reason
    assert store.verify(run).complete
