"""The rule pass over a store: idempotent, resumable after a kill, incremental, on SQLite and PostgreSQL, with reviews unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rules_samples import BLUE, GREEN, RED, World, names, photo, stripe

from bioclip_core.errors import StoreError, UsageError
from bioclip_plugin.running import rules_pass as applying
from bioclip_plugin.running.rules_summary import Applied
from bioclip_plugin.store import ReviewTarget, Store
from bioclip_plugin.store.deciding import Deciding
from bioclip_plugin.store.records import StoredDecision

ORANGE = (200, 150, 0)


def burst(count: int = 12) -> list[Any]:
    """Return images of three deployments, four per event."""
    colours = (RED, ORANGE, RED, BLUE)
    return [photo(f"{n:02}", colours[n % 4], after_s=20 * (n // 3), deployment=f"camera {n % 3}") for n in range(count)]


def test_a_pass_that_is_run_again_finds_everything_decided_and_changes_nothing(world: World) -> None:
    first = world.decided("sequences", items=burst())
    with world.session("sequences") as session:
        run = session.begin_run(("session",))
        assert session.apply_rules(run).regions == 0
    assert world.decisions() == first


def test_a_pass_that_was_killed_in_the_middle_goes_on_and_ends_the_same(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = world.decided("sequences", "unknown", items=burst())
    other = World(tmp_path / "killed")
    monkeypatch.setattr(applying, "_IMAGES_AT_ONCE", 1)  # one event per transaction
    written = Deciding.write
    calls = 0

    def killed(self: Deciding, decisions: dict[int, StoredDecision]) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        written(self, decisions)

    session = other.session("sequences", "unknown")
    list(session.classify_stream(burst()))
    with monkeypatch.context() as patch:
        patch.setattr(Deciding, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            session.apply_rules()
    open_now = [decision for decision in other.decisions() if decision is not None and not decision.trail]
    assert 0 < len(open_now) < 12
    done = session.apply_rules()
    assert 0 < done.regions < 12  # deployments that were decided completely are not decided again
    assert other.decisions() == expected
    session.close()


def test_an_image_that_joins_later_changes_the_decisions_of_its_event_and_of_no_other_camera(world: World) -> None:
    early = [photo("a", ORANGE), photo("b", RED, deployment="other")]
    assert names(world.decided("sequences", items=early)) == ["Canis aureus", "Canis lupus"]
    late = [photo(name, RED, after_s=10) for name in "cdefg"]
    with world.session("sequences") as session:
        list(session.classify_stream(late))
        applied = session.apply_rules()
    assert (applied.images, applied.events) == (6, 1)
    assert names(world.decisions()) == ["Canis lupus"] * 7


def test_a_kill_while_a_camera_is_decided_anew_leaves_no_decision_of_before(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = "sequences:most=2"
    late = [photo(f"{n}", RED if n % 2 else ORANGE, after_s=10 * n) for n in range(1, 6)]
    early = photo("0", RED)  # it makes every event of two start one image earlier
    expected = World(tmp_path / "whole").decided(rule, items=[*late, early])
    world.decided(rule, items=late)
    monkeypatch.setattr(applying, "_IMAGES_AT_ONCE", 1)  # one event per transaction
    written = Deciding.write
    session = world.session(rule)
    list(session.classify_stream([*late, early]))

    def killed(self: Deciding, decisions: dict[int, StoredDecision]) -> None:
        written(self, decisions)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Deciding, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            session.apply_rules()
    assert session.apply_rules().images == 6
    assert world.decisions() == expected
    session.close()


def test_other_rules_are_other_runs_over_the_same_answers_and_neither_touches_the_other(world: World) -> None:
    world.decided("sequences", items=burst())
    encoded = world.model.encoder.images_encoded
    world.decided("unknown:below=0.9", items=burst())
    assert world.model.encoder.images_encoded == encoded
    with Store.open(world.store) as store:
        assert [run.id for run in store.runs()] == [1, 2]
    assert world.decisions(1) != world.decisions(2)


def test_a_review_is_kept_and_the_region_is_decided_beside_it(world: World) -> None:
    session = world.session("sequences")
    list(session.classify_stream(burst()))
    assert session.store is not None
    session.store.add_review(ReviewTarget("media", uri="00"), "blank", reviewer="Ada")
    before = list(session.store.reviews())
    session.close()
    with Store.open(world.store) as store:
        assert list(store.reviews()) == before
    assert all(decision is not None and decision.trail for decision in world.decisions())


def test_a_run_is_not_proven_complete_by_decisions_of_the_consensus_alone(world: World) -> None:
    session = world.session("sequences")
    list(session.classify_stream(burst()))
    assert session.store is not None
    deciding = session.store.deciding(session.store.run())
    assert (deciding.count(), deciding.count_images()) == (12, 12)
    (problem,) = session.store.verify(session.store.run()).problems
    assert problem.startswith("12 regions are not decided by the run's rules yet: 00, ")
    session.apply_rules()
    assert (deciding.count(), deciding.count_images()) == (0, 0)
    assert session.store.verify(session.store.run()).problems == []
    session.close()


def test_features_that_are_gone_are_missed_by_name(world: World) -> None:
    import sqlite3

    session = world.session("sequences")
    list(session.classify_stream(burst()))
    with sqlite3.connect(world.store) as file:
        file.execute("DELETE FROM bioclip_features")
    with pytest.raises(StoreError, match="no features are stored, and the rules that weigh or pool need them"):
        session.apply_rules()


def test_rules_without_a_store_are_refused(world: World) -> None:
    with pytest.raises(UsageError, match=r"rules .* work on stored answers; give a store"):
        world.session("unknown", store=None)


def test_progress_reaches_all_images(world: World) -> None:
    said: list[tuple[int, int]] = []
    with world.session("sequences") as session:
        list(session.classify_stream(burst()))
        session.apply_rules(progress=lambda done, total: said.append((done, total)))
    assert said[-1] == (12, 12)


def test_the_summary_counts_the_changes_of_each_rule_and_shows_the_most_confident_ones(world: World) -> None:
    with world.session("sequences", "unknown:below=0.9") as session:
        list(session.classify_stream([photo("a", RED), photo("b", RED, after_s=5), photo("c", ORANGE, after_s=9)]))
        applied = session.apply_rules()
    told = applied.as_dict()
    assert told["rules"] == {"sequences": {"pooled": 3}, "unknown": {"made unknown": 3}}
    assert (told["regions"], told["changed"], told["verdicts"]) == (3, 3, {"unknown": 3})
    text = "\n".join(applied.lines())
    assert "unknown: made unknown 3" in text
    assert "a: Canis lupus 0.8" in text


def test_an_empty_summary_is_a_line() -> None:
    assert list(Applied().lines()) == ["Rules: every region was decided already."]


@pytest.mark.parametrize("rules", [("sequences",), ("unknown",), ("sequences", "blanks", "unknown:below=0.9")])
def test_the_same_decisions_come_from_either_database(world: World, store_address: str, rules: tuple[str, ...]) -> None:
    items = [*burst(), photo("p", GREEN, after_s=3, regions=(stripe(0, 1, category="person", classified=False),))]
    expected = world.decided(*rules, items=items)
    with world.session(*rules, store=store_address) as session:
        list(session.classify_stream(items))
    with Store.open(store_address) as store:
        found = [region.decision for item in store.items_of(store.run()) for region in item.regions]
    assert found == expected
