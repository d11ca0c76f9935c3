"""Figures of a run on plain arrays, with numbers worked out by hand, and cases from the trackers of camera-trap software."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from made_columns import made_columns
from made_sightings import DUCK, FELIDAE, FOX, HERON, LYNX, Row, day, seconds, sightings

from bioclip_core.classify import Candidate
from bioclip_core.errors import UsageError
from bioclip_core.findings import Findings
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import Review, ReviewTarget, StoredItem, StoredRegion
from bioclip_plugin.store.records import ItemStatus, StoredDecision
from bioclip_plugin.summaries.activity import by_camera, by_date, by_hour, natural, periods
from bioclip_plugin.summaries.effort import BOTH, IMAGES, EffortTable, Stated, effort_of
from bioclip_plugin.summaries.options import FigureOptions
from bioclip_plugin.summaries.rates import Rates, rates_of, within_effort
from bioclip_plugin.summaries.reading import final_names, seconds_of
from bioclip_plugin.summaries.reviewers import agreement_of_reviewers, cohen_kappa, krippendorff_alpha
from bioclip_plugin.summaries.richness import accumulation_of, chao
from bioclip_plugin.summaries.sightings import KINDS, NO_TIME, Sightings, at_rank, independent_events, names_of
from bioclip_plugin.summaries.viewing import sightings_of_columns

HALF_HOUR = 1800.0


def events_of(given: Sightings, gap_s: float | None = HALF_HOUR) -> list[tuple[str, int]]:
    """Return taxon and number of images of each event."""
    found = independent_events(given, gap_s)
    return [(found.taxa[taxon].name, int(images)) for taxon, images in zip(found.taxon_E, found.images_E, strict=True)]


def rated(given: Sightings, stated: dict[str, Stated]) -> tuple[Rates, Findings]:
    findings = Findings()
    efforts = effort_of(given, stated, findings)
    found = rates_of(within_effort(independent_events(given, HALF_HOUR), efforts, findings), efforts)
    assert found is not None
    return found, findings


def test_a_pause_beyond_the_gap_begins_an_event_and_is_measured_from_the_last_image() -> None:
    """A fox that stays is one event however long: camtrapR's ``lastRecord`` (inbo/camtraptor#353), not ``lastIndependentRecord``."""
    stays = [(FOX, "A", f"2024-05-01T{minute // 60:02}:{minute % 60:02}:00") for minute in range(0, 101, 25)]
    assert events_of(sightings(stays)) == [("Vulpes vulpes", 5)]
    exactly = [(FOX, "A", "2024-05-01T00:00:00"), (FOX, "A", "2024-05-01T00:30:00"), (FOX, "A", "2024-05-01T01:00:01")]
    assert events_of(sightings(exactly)) == [("Vulpes vulpes", 2), ("Vulpes vulpes", 1)]
    assert len(events_of(sightings(exactly), 0.0)) == 3


def test_cameras_and_taxa_have_events_of_their_own_in_whatever_order_images_come() -> None:
    rows: list[Row] = [
        (FOX, "B", "2024-05-01T10:05:00"), (LYNX, "A", "2024-05-01T10:01:00"), (FOX, "A", "2024-05-01T10:02:00"),
        (FOX, "A", "2024-05-01T10:00:00"), ("blank", "A", "2024-05-01T10:03:00"), ("person", "A", "2024-05-01T10:04:00"),
    ]  # fmt: skip
    assert sorted(events_of(sightings(rows))) == [("Lynx lynx", 1), ("Vulpes vulpes", 1), ("Vulpes vulpes", 2)]


def test_one_sequence_with_two_ducks_and_a_heron_is_two_events_and_not_ninety() -> None:
    """inbo/camtraptor#220: 30 images with a female and a male duck and a heron."""
    rows: list[Row] = []
    media = []
    for image in range(30):
        rows += [(what, "A", f"2024-05-01T10:00:{image:02}") for what in (DUCK, DUCK, HERON)]
        media += [image] * 3
    for gap in (HALF_HOUR, None):
        given = sightings(rows, media=media, events=[7] * 90)
        assert sorted(events_of(given, gap)) == [("Anas platyrhynchos", 30), ("Ardea cinerea", 30)]


def test_images_without_a_sequence_are_not_one_event() -> None:
    """inbo/camtraptor#167: counting different sequences made one observation of all images that have none."""
    rows: list[Row] = [(FOX, "A", f"2024-05-{day:02}T10:00:00") for day in range(1, 9)]
    assert len(events_of(sightings(rows), None)) == 8
    assert len(events_of(sightings([(FOX, "A", "")] * 3))) == 3
    assert events_of(sightings([(FOX, "A", "")] * 3, events=[4, 4, 4])) == [("Vulpes vulpes", 3)]


def test_the_hour_is_that_of_the_cameras_clock_whatever_its_offset() -> None:
    """earthtoolsmaker/biowatch#578: 6:54 in Kruger was night, since its hour was read in UTC."""
    assert seconds_of(datetime.fromisoformat("2024-05-01T06:54:00+02:00")) == seconds("2024-05-01T06:54:00")
    found = by_hour(independent_events(sightings([(FOX, "A", "2024-05-01T06:54:00"), (FOX, "A", "")]), HALF_HOUR))
    assert found.counts_TH[0].nonzero()[0].tolist() == [6]
    assert found.untimed_T.tolist() == [1]
    assert [row for row in found.rows() if row["events"]] == [
        {"taxon": "Vulpes vulpes", "hour": 6, "events": 1, "share_of_timed_events": 1.0},
        {"taxon": "Vulpes vulpes", "hour": "", "events": 1, "share_of_timed_events": ""},
    ]


def test_effort_is_the_exact_time_of_deployments_and_those_without_an_animal_count() -> None:
    """inbo/camtraptor#236 and #238: hours of four deployments, three of which did not see the duck; one has no image at all."""
    start = seconds("2020-01-01T12:00:00")
    stated = {
        name: Stated(start, start + length)
        for name, length in (("a", 859859), ("b", 786802), ("c", 1903602), ("d", 1204929))
    }
    rows: list[Row] = [(DUCK, "a", f"2020-01-{day:02}T12:00:00") for day in (1, 3, 4, 5)]
    found, findings = rated(
        sightings([*rows, ("blank", "b", "2020-01-02T00:00:00"), ("blank", "c", "2020-01-02T00:00:00")]), stated
    )
    assert found.camera_days == pytest.approx(4755192 / 86400)
    assert (found.cameras, found.taxa[0].cameras, found.taxa[0].events) == (4, 1, 4)
    assert found.per_100_days(found.taxa[0]) == pytest.approx(100 * 4 / 55.0369, abs=1e-3)
    assert found.taxa[0].occupancy_ci95 == pytest.approx((0.0063, 0.8059), abs=1e-4)
    assert [text for text in findings.texts() if "no image with a time" in text]


def test_a_detection_on_the_first_and_last_part_of_a_day_is_within_the_effort() -> None:
    """inbo/camtraptor#99: days on which a camera was set up or fetched had no effort, and observations on them were refused."""
    stated = {"A": Stated(seconds("2024-05-01T15:00:00"), seconds("2024-05-03T09:00:00"))}
    rows: list[Row] = [
        (FOX, "A", "2024-05-01T16:00:00"),
        (FOX, "A", "2024-05-03T08:00:00"),
        (FOX, "A", "2024-06-03T08:00:00"),
    ]
    found, findings = rated(sightings(rows), stated)
    assert (found.taxa[0].events, found.camera_days) == (2, 1.75)
    outside = "events outside the dates of their deployment are in no rate (is a clock wrong?)"
    assert (outside, 1, "Vulpes vulpes, A, 2024-06-03") in findings.found()


def test_effort_from_images_counts_calendar_days_and_says_where_it_comes_from() -> None:
    rows: list[Row] = [
        (FOX, "A", "2024-05-01T23:59:00"), ("blank", "A", "2024-05-02T00:01:00"), ("person", "B", "2024-05-02T12:00:00"),
        ("vehicle", "C", ""), ("blank", "D", "2000-01-01T00:00:00"), (FOX, "D", "2024-05-02T12:00:00"),
    ]  # fmt: skip
    findings = Findings()
    stated = {"E": Stated(seconds("2024-05-01T00:00:00"), seconds("2024-05-01T23:59:59"))}
    table = EffortTable(effort_of(sightings(rows), stated, findings))
    found = {row["camera"]: (row["camera_days"], row["effort_known_by"]) for row in table.rows()}
    assert found == {"A": (2, IMAGES), "B": (1, IMAGES), "C": ("", "unknown"), "D": (8889, IMAGES), "E": (1, BOTH)}
    assert table.rows()[0] | {"camera": "", "camera_days": ""} == {
        "camera": "", "camera_days": "", "effort_known_by": IMAGES, "first_day": "2024-05-01", "last_day": "2024-05-02", "images": 2,
        "images_with_taxa": 1, "images_unnamed": 0, "images_blank": 1, "images_with_people": 0, "images_with_vehicles": 0,
    }  # fmt: skip
    assert [example for text, _, example in findings.found() if "for 30 days or more" in text] == [
        "D: 8888 days from 2000-01-01"
    ]


def test_answers_above_the_rank_are_no_taxa_and_a_reviewers_binomial_is_its_species() -> None:
    binomial = Taxon(genus="Lynx", species="lynx")
    plain = Taxon.plain("red stripe")
    rows: list[Row] = [(what, "A", "") for what in (LYNX, binomial, FELIDAE, FOX, plain)]
    species = at_rank(sightings(rows), Rank.SPECIES)
    assert [taxon.name for taxon in species.taxa] == ["Lynx lynx", "red stripe", "Vulpes vulpes"]
    assert species.taxon_N.tolist() == [0, 0, -1, 2, 1]
    assert [int(kind) for kind in species.kind_N] == [0, 0, 1, 0, 0]
    family = at_rank(sightings(rows), Rank.FAMILY)
    assert [taxon.name for taxon in family.taxa] == ["Canidae", "Felidae", "red stripe"]
    assert family.taxon_N.tolist() == [1, 1, 1, 0, 2]


def test_taxa_of_one_name_in_two_kingdoms_are_told_apart() -> None:
    given = [Taxon.of((kingdom, "", "", "", "", "Oenanthe", "alba")) for kingdom in ("Animalia", "Plantae")]
    assert names_of([*given, FOX]) == ["Oenanthe alba (Animalia)", "Oenanthe alba (Plantae)", "Vulpes vulpes"]


def test_dates_are_days_weeks_or_months_with_the_cameras_that_were_at_work() -> None:
    rows: list[Row] = [
        (FOX, "A", "2024-05-01T10:00:00"),
        (FOX, "A", "2024-05-03T10:00:00"),
        ("blank", "B", "2024-05-02T10:00:00"),
    ]
    given = sightings(rows)
    found = by_date(independent_events(given, HALF_HOUR), effort_of(given, {}, Findings()))
    assert (found.period, found.starts, found.counts_TB.tolist(), found.cameras_B.tolist()) == (
        "day", tuple(range(day("2024-05-01"), day("2024-05-04"))), [[1, 0, 1]], [1, 2, 1],
    )  # fmt: skip
    assert periods(day("2024-05-01"), day("2024-12-31"))[1][:2] == [day("2024-04-29"), day("2024-05-06")]
    assert periods(day("2022-12-31"), day("2024-05-01"))[0] == "month"
    assert periods(day("2022-12-31"), day("2025-03-01"))[1][1] == day("2023-01-01")
    assert periods(day("1999-12-31"), day("2024-01-01"))[0] == "year"


def test_events_by_camera_have_rates_and_cameras_are_in_the_order_of_their_numbers() -> None:
    rows: list[Row] = [
        (FOX, "CAM 10", "2024-05-01T10:00:00"), ("blank", "CAM 10", "2024-05-04T10:00:00"), ("blank", "CAM 2", "2024-05-01T10:00:00"),
        (FOX, "", "2024-05-01T10:00:00"),
    ]  # fmt: skip
    given = sightings(rows)
    found = by_camera(independent_events(given, HALF_HOUR), effort_of(given, {}, Findings()))
    assert [camera.camera for camera in found.cameras] == ["CAM 2", "CAM 10"]
    assert [tuple(row.values()) for row in found.rows()] == [
        ("CAM 10", "Vulpes vulpes", 1, 4.0, IMAGES, 25.0), ("", "Vulpes vulpes", 1, "", "unknown", ""),
    ]  # fmt: skip
    assert sorted(["b1", "B01a", "²", "a"], key=natural) == ["a", "b1", "B01a", "²"]


def test_accumulation_ends_at_all_taxa_and_its_mean_is_the_expected_one() -> None:
    """With one taxon on one of four camera-days, a random order has seen it after k of them with probability k/4."""
    rows: list[Row] = [(FOX, "A", "2024-05-02T10:00:00"), ("blank", "A", "2024-05-01T00:00:00"), ("blank", "B", "2024-05-01T00:00:00"),
                       ("blank", "B", "2024-05-02T00:00:00")]  # fmt: skip
    given = sightings(rows)
    efforts = effort_of(given, {}, Findings())
    found = accumulation_of(independent_events(given, HALF_HOUR), efforts, 2000)
    assert found is not None
    assert found.days_P.tolist() == [1, 2, 3, 4]
    assert found.mean_P == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.04)
    assert (found.low_P.tolist(), found.high_P.tolist()) == ([0, 0, 0, 1], [1, 1, 1, 1])
    again = accumulation_of(independent_events(given, HALF_HOUR), efforts, 2000)
    assert again is not None
    assert again.mean_P.tolist() == found.mean_P.tolist()


def test_chaos_estimates_are_those_of_the_literature_and_of_a_case_from_inext() -> None:
    # Spiders under girdled trees, the example of Chao et al. 2014: 26 species, 168 individuals, 12 once, 4 twice.
    spiders = np.array([46, 22, 17, 15, 15, 9, 8, 6, 6, 4, 2, 2, 2, 2, *[1] * 12])
    found = chao(spiders, 168)
    assert (found.value, found.standard_error, *found.ci95) == pytest.approx((43.893, 14.306, 30.511, 96.971), abs=2e-3)
    # JohnsonHsieh/iNEXT#81: five samples, frequencies 5, 1, 1, 2 give 5.6 or an error by chance.
    assert chao(np.array([5, 1, 1, 2]), 5).value == pytest.approx(5.6)
    assert chao(np.array([5, 7]), 9).ci95 == (2.0, 2.0)
    without_twice = chao(np.array([1, 1, 1, 9]), 12)
    assert without_twice.value == pytest.approx(4 + 11 / 12 * 3)
    assert 4 < without_twice.ci95[0] < without_twice.value < without_twice.ci95[1] < 100


def review(reviewer: str, taxon: Taxon | str, uri: str = "a", when: int = 1, box: Region | None = None) -> Review:
    is_taxon = isinstance(taxon, Taxon)
    target = ReviewTarget("region" if box else "media", uri, 0, box)
    verdict = "taxon" if is_taxon else taxon
    return Review(when, target, verdict, taxon if is_taxon else None, reviewer, datetime(2031, 1, when, tzinfo=UTC), "")  # type: ignore[arg-type]


def test_reviewers_are_compared_by_their_newest_reviews_of_the_same_thing() -> None:
    box = Region(0.1, 0.1, 0.2, 0.2)
    found = agreement_of_reviewers(
        [
            review("Ann", FOX, "a"), review("Bob", "blank", "a"), review("bob ", Taxon(genus="Vulpes", species="vulpes"), "a", 2),
            review("Ann", LYNX, "b"), review("Bob", FELIDAE, "b"), review("Ann", "blank", "c"), review("Bob", "blank", "c"),
            review("Ann", "person", "d"), review("Bob", FOX, "d"), review("Ann", FOX, "e", box=box), review("Bob", FOX, "e"),
            review("", FOX, "a"), review("Cy", FOX, "f"), review("Cy", LYNX, "f"),
        ]
    )  # fmt: skip
    (pair,) = found.pairs
    assert (pair.reviewers, pair.items, pair.equal, pair.compatible) == (("Ann", "Bob"), 4, 2, 3)
    assert (found.items, found.equal) == (4, 2)
    assert found.disagreements.counts == (("Felidae", "Lynx lynx", 1), ("Vulpes vulpes", "person", 1))
    assert dict(found.skipped) == {
        "reviews without a reviewer's name": 1, "reviews that name several taxa at once": 1,
        "images, boxes and events that one reviewer reviewed": 2,
    }  # fmt: skip


def test_kappa_and_alpha_are_those_of_their_authors() -> None:
    # Cohen's example in its form with counts: 20 and 15 agree, 5 and 10 do not.
    counts = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    assert cohen_kappa([pair for pair, count in counts.items() for _ in range(count)]) == pytest.approx(0.4)
    assert np.isnan(cohen_kappa([("a", "a")] * 3))
    # Krippendorff (2011), nominal data with missing values.
    given = [
        ("1", "1", "1"), ("2", "2", "3", "2"), ("3", "3", "3", "3"), ("3", "3", "3", "3"), ("2", "2", "2", "2"),
        ("1", "2", "3", "4"), ("4", "4", "4", "4"), ("1", "1", "2", "1"), ("2", "2", "2", "2"), ("5", "5", "5"), ("1", "1"), ("3",),
    ]  # fmt: skip
    assert krippendorff_alpha(given) == pytest.approx(0.743, abs=5e-4)
    assert np.isnan(krippendorff_alpha([("a", "a"), ("a",)]))


def test_a_pause_for_the_runs_own_events_is_refused() -> None:
    with pytest.raises(UsageError, match="--events run"):
        FigureOptions(events="run", event_gap=10.0)
    with pytest.raises(UsageError, match="figure"):
        FigureOptions(figures=("hour",))


def found(taxon: Taxon | None, box: Region | None, verdict: str = "taxon") -> StoredRegion:
    candidate = Candidate(taxon, str(taxon.rank), 0.9) if taxon else None
    return StoredRegion(box, 1, {}, (), StoredDecision(verdict, candidate, "event 1"))  # type: ignore[arg-type]


LEFT, RIGHT = Region(0.1, 0.1, 0.2, 0.2, "finder"), Region(0.6, 0.6, 0.2, 0.2, "finder")
NEAR_LEFT = Region(0.11, 0.1, 0.2, 0.2)


def named(
    *regions: StoredRegion,
    reviews: Sequence[Review] = (),
    of_events: Sequence[Review] = (),
    status: ItemStatus = "done",
) -> list[str]:
    """Return the final names in an image; those of reviewers with an asterisk."""
    stored = StoredItem(MediaItem("a", detected=True), status, None, list(regions))
    names = final_names(stored, reviews, of_events, 0.2)
    return [f"{taxon.name if taxon else KINDS[kind]}{'*' if reviewed else ''}" for (kind, taxon), _, reviewed in names]


def test_names_of_reviewers_go_before_the_runs_from_the_box_over_the_image_to_the_event() -> None:
    fox, person = found(FOX, LEFT), found(None, RIGHT, "person")
    assert named(fox, person) == ["Vulpes vulpes", "person"]
    assert named() == ["blank"]
    assert named(fox, found(LYNX, RIGHT), reviews=[review("Ann", DUCK, box=NEAR_LEFT)]) == [
        "Anas platyrhynchos*",
        "Lynx lynx",
    ]
    assert named(fox, person, reviews=[review("Ann", LYNX)]) == ["person", "Lynx lynx*"]
    assert named(fox, person, reviews=[review("Ann", "blank")]) == ["blank*"]
    assert named(fox, reviews=[review("Ann", LYNX), review("Ann", DUCK)]) == ["Lynx lynx*", "Anas platyrhynchos*"]
    assert named(fox, reviews=[review("Ann", HERON, box=RIGHT)]) == ["Vulpes vulpes", "Ardea cinerea*"]
    assert named(fox, of_events=[review("Ann", "unidentifiable")]) == ["unknown*"]
    assert named(person, reviews=[review("Ann", LYNX)]) == ["person", "Lynx lynx*"]
    assert named(status="failed") == ["unanswered"]
    assert named(status="failed", reviews=[review("Ann", LYNX, box=LEFT)]) == ["Lynx lynx*"]
    both = [review("Ann", LYNX), review("Ann", FELIDAE, box=LEFT)]
    assert named(fox, reviews=both, of_events=[review("Bob", DUCK)]) == ["Felidae*"]


def test_columns_of_a_view_give_the_same_sightings() -> None:
    columns = made_columns(
        [
            {"taxon": FOX, "camera": "A", "at": "2024-05-01T10:00:00", "event": "e"}, {"taxon": LYNX, "camera": "B", "review": 0},
            {"verdict": "blank"},
            {"failure": "decode: damaged"}, {"verdict": "person"}, {"taxon": FOX, "review": 1}, {"verdict": "unknown"},
        ],
        [{"taxon": DUCK}, {"verdict": "unidentifiable"}],
        (FOX, LYNX, DUCK),
    )  # fmt: skip
    given = sightings_of_columns(columns)
    assert [KINDS[kind] for kind in given.kind_N] == [
        "taxon",
        "taxon",
        "blank",
        "unanswered",
        "person",
        "unknown",
        "unknown",
    ]
    assert [given.taxa[taxon].name for taxon in given.taxon_N if taxon >= 0] == ["Vulpes vulpes", "Anas platyrhynchos"]
    assert events_of(at_rank(given, Rank.SPECIES)) == [("Anas platyrhynchos", 1), ("Vulpes vulpes", 1)]
    assert given.reviewed_N.nonzero()[0].tolist() == [1, 5]
    assert given.moment_N[:2].tolist() == [seconds("2024-05-01T10:00:00"), NO_TIME]
