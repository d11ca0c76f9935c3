"""Events: images that belong together, pooling within an event, and the meaning of its probabilities."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from rules_samples import BLUE, GREEN, JACKAL, NOON, RED, WOLF, World, names, photo, softmax, stripe

from bioclip_core.errors import UsageError
from bioclip_plugin import MediaItem
from bioclip_plugin.rules.sequences import Sequences, SequenceSettings
from bioclip_plugin.store import Store

ORANGE = (200, 150, 0)  # the jackal's own direction


def mean_of(*features: tuple[float, float, float]) -> tuple[float, ...]:
    return tuple(np.mean(np.array(features), axis=0).tolist())


def events(world: World, *items: MediaItem, rule: str = "sequences") -> list[list[int]]:
    """Return the events as lists of item positions, ordered by their first item."""
    decisions = world.decided(rule, items=items)
    by_name: dict[str, list[int]] = {}
    for n, decision in enumerate(decisions):
        assert decision is not None
        by_name.setdefault(decision.event or f"alone {n}", []).append(n)
    return sorted(by_name.values())


def test_the_answer_of_an_event_is_the_softmax_of_its_mean_logits_for_each_image(world: World) -> None:
    items = [photo("a", RED), photo("b", RED, after_s=30), photo("c", ORANGE, after_s=60)]
    decisions = world.decided("sequences", items=items)
    expected = softmax(mean_of((1, 0, 0), (1, 0, 0), (0.8, 0.6, 0)))
    assert names(decisions) == ["Canis lupus"] * 3
    for decision in decisions:
        assert decision is not None
        assert decision.candidate is not None
        assert decision.candidate.probability == pytest.approx(expected[WOLF], abs=1e-3)  # features are float16
        assert decision.event == "site@2024-05-01T12:00:00"
    trails = [decision.trail[0] for decision in decisions if decision]
    assert [trail.get("from") for trail in trails] == [None, None, "Canis aureus"]
    assert {(trail["did"], trail["images"], trail["regions"]) for trail in trails} == {("pooled", 3, 3)}


def test_the_models_own_answer_stays_beside_the_pooled_one(world: World) -> None:
    items = [photo("a", RED), photo("b", RED, after_s=30), photo("c", ORANGE, after_s=60)]
    world.decided("sequences", items=items)
    with Store.open(world.store) as store:
        last = list(store.items_of(store.run()))[-1].regions[0]
    assert last.by_rank["species"][0].name == "Canis aureus"
    assert last.by_rank["species"][0].probability == pytest.approx(softmax((0.8, 0.6, 0))[JACKAL], abs=1e-3)


def test_images_in_memory_without_a_deployment_are_single_events(world: World) -> None:
    items = [photo(name, RED, deployment=None) for name in "ab"]
    items = [replace(item, uri=f"memory:{item.uri}") for item in items]
    assert events(world, *items) == [[0], [1]]
    known = [replace(item, uri=f"{item.uri}c", deployment="c1") for item in items]
    assert events(world, *items, *known)[-1] == [2, 3]


def test_a_pause_of_exactly_the_gap_joins_and_a_longer_one_begins_a_new_event(world: World) -> None:
    items = [photo(name, RED, after_s=s) for name, s in zip("abcd", (0, 60, 121, 181), strict=True)]
    assert events(world, *items) == [[0, 1], [2, 3]]
    assert events(world, *items, rule="sequences:gap=61") == [[0, 1, 2, 3]]


def test_events_are_in_the_order_of_time_whatever_the_order_of_listing(world: World) -> None:
    items = [photo(name, RED, after_s=s) for name, s in zip("abc", (100, 0, 50), strict=True)]
    assert events(world, *items) == [[0, 1, 2]]


def test_cameras_deployments_and_folders_are_apart(world: World) -> None:
    one = {"camera_serial_number": "1"}
    two = {"camera_serial_number": "2"}
    items = [
        photo("x/a", RED, deployment="east"),
        photo("x/b", RED, deployment="west"),
        photo("x/c", RED, deployment=None),
        photo("y/d", RED, deployment=None),
        photo("x/e", RED, deployment="east", metadata=one),
        photo("y/f", RED, deployment="east", metadata=one),  # the same deployment in its next folder
        photo("x/g", RED, deployment="east", metadata=two),
        photo("x/h", RED, deployment=None, metadata=one),
        photo("x/i", RED, deployment=None),
    ]
    assert events(world, *items) == [[0], [1], [2, 8], [3], [4, 5], [6], [7]]


def test_items_without_a_time_are_single_events_and_a_given_sequence_needs_no_time(world: World) -> None:
    items = [
        photo("a", RED, after_s=None),
        photo("b", RED, after_s=None),
        photo("c", RED, after_s=None, sequence="s1"),
        photo("d", RED, after_s=9999, sequence="s1"),
        photo("e", RED, after_s=None, sequence="s1", deployment="elsewhere"),
    ]
    decisions = world.decided("sequences", items=items)
    assert [decision.event for decision in decisions if decision] == [None, None, "s1", "s1", "s1"]
    pooled = [bool(decision.trail) for decision in decisions if decision]
    assert pooled == [False, False, True, True, False]


def test_an_event_is_cut_at_the_most_images_that_it_may_have(world: World) -> None:
    items = [photo(f"{n}", RED, after_s=n) for n in range(5)]
    assert events(world, *items, rule="sequences:most=2") == [[0, 1], [2, 3], [4]]


def test_two_taxa_in_one_image_are_pooled_apart_and_an_unsure_box_keeps_its_own_answer(world: World) -> None:
    items = [
        photo("a", RED, GREEN, regions=(stripe(0, 2), stripe(1, 2))),
        photo("b", RED, after_s=10, regions=(stripe(0, 1),)),
        photo("c", GREEN, after_s=20, regions=(stripe(0, 1),)),
        photo("d", (0, 255, 255), after_s=30, regions=(stripe(0, 1),)),  # fowl or maple: none of the ranks reaches 0.65
    ]
    decisions = world.decided("sequences", items=items)
    assert names(decisions) == ["Canis lupus", "Acer rubrum", "Canis lupus", "Acer rubrum", "unknown"]
    assert [bool(decision.trail) for decision in decisions if decision] == [True, True, True, True, False]
    assert {decision.event for decision in decisions if decision} == {"site@2024-05-01T12:00:00"}


def test_answers_that_exclude_each_other_in_different_images_are_one_animal(world: World) -> None:
    items = [photo("a", RED), photo("b", RED, after_s=10), photo("c", GREEN, after_s=20)]
    assert (
        names(world.decided("sequences", items=items)) == ["Canis"] * 3
    )  # 2 parts wolf, 1 part maple: near wolf and jackal


def test_people_and_empty_images_belong_to_the_event_and_are_not_pooled(world: World) -> None:
    person = stripe(0, 1, category="person", classified=False)
    items = [
        photo("a", RED, regions=(person,)),
        photo("b", RED, after_s=10, detected=True),
        photo("c", ORANGE, after_s=20, regions=(stripe(0, 1),)),
    ]
    decisions = world.decided("sequences", "blanks", items=items)
    assert names(decisions) == ["person", "Canis aureus"]
    assert {decision.event for decision in decisions if decision} == {"site@2024-05-01T12:00:00"}


def test_times_with_and_without_a_zone_leave_only_their_camera_out_until_a_zone_is_given(world: World) -> None:
    items = [
        photo("a.jpg", RED),
        photo("b.jpg", RED, captured_at=(NOON + timedelta(seconds=30)).replace(tzinfo=UTC)),
        photo("c.jpg", RED, deployment="sound"),
        photo("d.jpg", RED, deployment="sound", after_s=30),
    ]
    with world.session("sequences") as session:
        list(session.classify_stream(items))
        applied = session.apply_rules()
    assert applied.notes[0].startswith("sequences: 2 images of 1 cameras are in no event")
    assert "(the first: b.jpg has one, a.jpg has none)" in applied.notes[0]
    assert [decision.event for decision in world.decisions() if decision] == [
        None,
        None,
        *["sound@2024-05-01T12:00:00"] * 2,
    ]
    assert events(world, *items[:2], rule="sequences:time_zone=+00:00") == [[0, 1]]
    assert events(world, *items[:2], rule="sequences:time_zone=Africa/Nairobi") == [[0], [1]]


def test_a_time_lapse_image_is_in_no_event_of_the_images_around_it(world: World) -> None:
    lapse: dict[str, Any] = {"captureMethod": "timeLapse"}
    reconyx = {"capture_method": "timeLapse"}
    items = [
        photo("a", RED), photo("b", RED, after_s=5, metadata=lapse), photo("c", RED, after_s=10),
        photo("d", RED, after_s=15, metadata={"camtrap_media": lapse}), photo("e", RED, after_s=20, metadata=reconyx),
    ]  # fmt: skip
    assert events(world, *items) == [[0, 2], [1], [3], [4]]
    stated = [replace(item, uri=f"x{item.uri}", sequence="s1") for item in items]
    assert events(world, *items, *stated)[4:] == [[5, 7], [6], [8], [9]]


def test_the_frames_of_a_video_without_a_time_are_one_event(world: World) -> None:
    frames = [photo("v.avi", RED, after_s=None, frame=10 * n, metadata={"video_seconds": float(n)}) for n in range(3)]
    assert events(world, photo("a.jpg", RED), *frames) == [[0], [1, 2, 3]]


def test_the_hour_that_the_clocks_skip_or_repeat_keeps_the_order_of_the_camera(world: World) -> None:
    zone = "sequences:time_zone=Europe/Brussels,gap=60"
    spring = datetime(2024, 3, 31, 1, 59, 30)  # 2 o'clock was 3 o'clock, which this camera did not know
    items = [photo(name, RED, captured_at=spring + timedelta(seconds=40 * n)) for n, name in enumerate("abcd")]
    assert events(world, *items, rule=zone) == [[0, 1, 2, 3]]
    autumn = datetime(2024, 10, 27, 2, 59, 30)
    items = [photo(f"x{n}", RED, captured_at=autumn + timedelta(seconds=40 * n)) for n in range(4)]
    zone += ",most=999"  # another run
    with world.session(zone) as session:
        list(session.classify_stream(items))
        (note,) = session.apply_rules().notes
    assert "local times occur twice in Europe/Brussels" in note
    assert "such as +01:00" in note
    assert "x0: 2024-10-27 02:59:30" in note
    assert len({decision.event for decision in world.decisions() if decision}) == 1


def test_times_of_different_offsets_are_compared_as_moments() -> None:
    rule = Sequences(SequenceSettings())
    east = rule.event_key(photo("a", RED, captured_at=NOON.replace(tzinfo=timezone(timedelta(hours=3)))))
    west = rule.event_key(photo("b", RED, captured_at=(NOON - timedelta(hours=3)).replace(tzinfo=UTC)))
    assert east == west


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sequences:gap=-1", "gap -1.0: allowed are numbers from 0"),
        ("sequences:gap=soon", "a number is needed"),
        ("sequences:gap=nan", "a number is needed"),
        ("sequences:most=0", "whole numbers from 1"),
        ("sequences:time_zone=Mars/Olympus", "time zone 'Mars/Olympus' is not known"),
    ],
)
def test_settings_that_cannot_be_used_are_named(world: World, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        world.session(text)


def test_a_higher_rank_of_a_pooled_event_is_the_sum_over_all_its_labels(world: World) -> None:
    items = [photo("a", RED), photo("b", BLUE, after_s=5)]
    decisions = world.decided("sequences", items=items, threshold=0.3)
    expected = softmax(mean_of((1, 0, 0), (0, 0, 1)))
    dogs = sum(probability for taxon, probability in expected.items() if taxon.family == "Canidae")
    by_threshold = world.decided("sequences", "thresholds:species=0.99,genus=0.99", items=items)
    assert decisions[0] is not None
    assert by_threshold[0] is not None
    assert by_threshold[0].candidate is not None
    assert by_threshold[0].candidate.name == "Canidae"
    assert by_threshold[0].candidate.probability == pytest.approx(dogs, abs=1e-3)
