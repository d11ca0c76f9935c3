"""Agreement of a run with reviews, with figures worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.reviews.agreement import agreement_of, is_above, is_within, verdict_rows
from bioclip_plugin.reviews.pairing import LeftOut, Pair, pairs_of
from bioclip_plugin.store import ItemRecord, RegionRecord, ReviewTarget, Run, RunPlan, Store, reading

CAT = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
LYNX = Taxon.of((*CAT, "Lynx", "fictus"))
OTHER_LYNX = Taxon.of((*CAT, "Lynx", "alter"))
LYNX_GENUS = Taxon.of((*CAT, "Lynx"))
FELIDAE = Taxon.of(CAT)
DEER = Taxon.of(("Animalia", "Chordata", "Mammalia", "Artiodactyla", "Cervidae", "Cervus", "fictus"))
BOX, OTHER_BOX = Region(0.1, 0.1, 0.4, 0.4, "finder"), Region(0.6, 0.6, 0.2, 0.2, "finder")
PERSON = Region(0.5, 0.5, 0.25, 0.25, "finder", "", "person", 0.75, classified=False)
PLAN = RunPlan(
    sources=("p",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={},
)  # fmt: skip
WHEN = datetime(2031, 5, 6, tzinfo=UTC)


def species(taxon: Taxon, probability: float = 0.9) -> Candidate:
    return Candidate(taxon, taxon.rank.value if taxon.rank else "", probability)


def pair(
    taxon: Taxon | None, decided: Taxon | None, *candidates: Taxon, verdict: str = "taxon", group: str = ""
) -> Pair:
    answer = "taxon" if decided else "unknown"
    return Pair(
        verdict,
        taxon,
        answer,
        species(decided) if decided else None,
        tuple(species(one) for one in candidates),
        group,  # type: ignore[arg-type]
    )


def test_a_taxon_is_within_another_by_the_names_that_both_have() -> None:
    assert is_within(LYNX, FELIDAE)
    assert is_within(LYNX, Taxon(genus="Lynx", species="fictus"))
    assert not is_within(FELIDAE, LYNX)
    assert not is_within(LYNX, Taxon(kingdom="Plantae", genus="Lynx", species="fictus"))
    assert is_above(LYNX_GENUS, LYNX)
    assert not is_above(OTHER_LYNX, LYNX)
    assert not is_above(LYNX, LYNX)


def test_the_figures_of_each_taxon_and_in_total_are_those_worked_out_by_hand() -> None:
    found = agreement_of(
        [
            pair(LYNX, LYNX, LYNX, group="1"),
            pair(LYNX, LYNX_GENUS, OTHER_LYNX, LYNX, group="2"),
            pair(LYNX, OTHER_LYNX, OTHER_LYNX, group="3"),
            pair(DEER, LYNX, LYNX, DEER, group="4"),
            pair(DEER, None, DEER, group="5"),
        ]
    )
    lynx, deer = found.taxa
    assert (lynx.n, lynx.agree, lynx.higher, lynx.genus, lynx.family, lynx.top1, lynx.top5) == (3, 1, 1, 3, 3, 1, 2)
    assert (lynx.answered, lynx.precision, lynx.recall) == (2, 0.5, 1 / 3)
    assert (deer.n, deer.agree, deer.answered, deer.top1, deer.top5) == (2, 0, 0, 1, 2)
    shares = {name: total.share for name, total in found.totals.items()}
    assert shares == pytest.approx(
        {
            "agree": 1 / 5,
            "agree_or_higher": 2 / 5,
            "genus": 3 / 5,
            "family": 3 / 5,
            "top1": 2 / 5,
            "top5": 4 / 5,
            "macro": 1 / 6,
        }
    )
    assert all(total.ci95[0] <= total.share <= total.ci95[1] for total in found.totals.values())
    assert found.confusions == [
        ("Cervus fictus", "Lynx fictus", 1), ("Cervus fictus", "unknown", 1), ("Lynx fictus", "Lynx alter", 1),
    ]  # fmt: skip


def test_a_family_that_was_reviewed_agrees_with_a_species_of_it_and_has_no_genus_to_agree_at() -> None:
    found = agreement_of([pair(FELIDAE, LYNX, LYNX)])
    assert (found.totals["agree"].share, found.totals["genus"].n, found.totals["family"].share) == (1.0, 0, 1.0)
    assert found.as_dict()["totals"]["genus"] == {"share": None, "ci95": [None, None], "n": 0, "groups": 0}


def test_blanks_and_people_have_precision_and_recall_too() -> None:
    blank = Pair("blank", None, "blank", None, (), "1")
    missed = Pair("blank", None, "taxon", species(LYNX), (), "2")
    wrong = Pair("taxon", LYNX, "blank", None, (), "3")
    found = agreement_of([blank, missed, wrong])
    (row,) = verdict_rows(found)
    assert (row["name"], row["n"], row["agree"], row["answered"], row["precision"], row["recall"]) == (
        "blank",
        2,
        1,
        2,
        0.5,
        0.5,
    )
    assert ("blank", "Lynx fictus", 1) in found.confusions


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


def answered(store: Store, *items: tuple[MediaItem, dict[Region | None, Taxon | None]]) -> Run:
    run = store.begin_run(PLAN)
    listed = store.list_items(run, [item for item, _ in items], [None] * len(items))
    records = []
    for one, (item, taxa) in zip(listed, items, strict=True):
        regions = tuple(
            RegionRecord(
                box, None, {"species": (species(taxon),)} if taxon else None, (), species(taxon) if taxon else None
            )
            for box, taxon in taxa.items()
        )
        records.append(ItemRecord(one, item, content_sha256=item.uri, content_size=1, regions=regions))
    store.commit(run, records)
    return run


def paired(store: Store, run: Run, **options: bool) -> tuple[list[Pair], dict[str, int]]:
    left_out = LeftOut()
    return list(pairs_of(store, run, left_out, **options)), dict(left_out.counts)


def test_each_box_is_compared_with_its_own_newest_review(store: Store) -> None:
    item = MediaItem("a.jpg", regions=(BOX, OTHER_BOX), detected=True)
    run = answered(store, (item, {BOX: LYNX, OTHER_BOX: DEER}))
    drawn = Region(0.12, 0.1, 0.4, 0.4)  # drawn by hand around the first box
    for box, taxon, day in ((BOX, DEER, 1), (BOX, LYNX, 2), (OTHER_BOX, DEER, 1)):
        store.add_review(
            ReviewTarget("region", "a.jpg", region=box), "taxon", taxon, reviewer="A", reviewed_at=WHEN.replace(day=day)
        )
    pairs, _ = paired(store, run)
    assert [(one.taxon, one.decided and one.decided.taxon) for one in pairs] == [(LYNX, LYNX), (DEER, DEER)]
    store.add_review(ReviewTarget("region", "a.jpg", region=drawn), "blank", reviewer="A", reviewed_at=WHEN)
    store.add_review(
        ReviewTarget("region", "a.jpg", region=Region(0, 0.9, 0.1, 0.1)), "blank", reviewer="A", reviewed_at=WHEN
    )
    pairs, left_out = paired(store, run)
    assert [one.decided and one.decided.taxon for one in pairs] == [LYNX, DEER, LYNX]
    assert left_out == {LeftOut.NO_BOX: 1}


def test_an_image_speaks_by_its_surest_decision_and_by_its_emptiness(store: Store) -> None:
    run = answered(
        store,
        (MediaItem("two.jpg", regions=(BOX, PERSON), detected=True), {BOX: LYNX, PERSON: None}),
        (MediaItem("empty.jpg", detected=True), {}),
        (MediaItem("person.jpg", regions=(PERSON,), detected=True), {PERSON: None}),
        (MediaItem("whole.jpg"), {None: DEER}),
    )
    for uri, verdict in (
        ("two.jpg", "blank"),
        ("empty.jpg", "blank"),
        ("person.jpg", "person"),
        ("whole.jpg", "blank"),
    ):
        store.add_review(ReviewTarget("media", uri), verdict, reviewer="A")  # type: ignore[arg-type]
    pairs, left_out = paired(store, run)
    assert [one.answer for one in pairs] == ["taxon", "blank", "person", "taxon"]
    assert left_out == {}


def test_boxes_below_the_threshold_are_blank_as_in_exports(store: Store) -> None:
    faint = replace(PERSON, confidence=0.1)
    run = answered(
        store,
        (MediaItem("faint.jpg", regions=(faint,), detected=True), {faint: None}),
        (MediaItem("box.jpg", regions=(faint, BOX), detected=True), {faint: None, BOX: LYNX}),
    )
    store.add_review(ReviewTarget("media", "faint.jpg"), "blank", reviewer="A")
    store.add_review(ReviewTarget("region", "box.jpg", region=faint), "person", reviewer="A")
    pairs, left_out = paired(store, run)
    assert [(one.verdict, one.answer) for one in pairs] == [("blank", "blank"), ("person", "blank")]
    assert left_out == {}


def test_several_taxa_reviewed_at_one_moment_are_counted_separately(store: Store) -> None:
    run = answered(store, (MediaItem("a.jpg"), {None: LYNX}))
    for taxon in (LYNX, DEER):
        store.add_review(ReviewTarget("media", "a.jpg"), "taxon", taxon, reviewer="A", reviewed_at=WHEN)
    assert paired(store, run) == ([], {LeftOut.SEVERAL: 1})


def test_a_review_of_an_event_counts_for_its_images_on_request(store: Store) -> None:
    run = answered(
        store,
        (MediaItem("a.jpg", sequence="night"), {None: LYNX}),
        (MediaItem("b.jpg", sequence="night"), {None: DEER}),
    )
    store.add_review(ReviewTarget("event", event="night"), "taxon", LYNX, reviewer="A")
    assert paired(store, run) == ([], {LeftOut.EVENTS: 1})
    store.add_review(ReviewTarget("media", "b.jpg"), "taxon", DEER, reviewer="A")
    pairs, _ = paired(store, run, events=True)
    assert [(one.taxon, one.group) for one in pairs] == [(LYNX, "night"), (DEER, "night")]


def test_only_the_images_with_a_review_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a million images with a hundred reviews is compared in a moment."""
    run = answered(store, *((MediaItem(f"{n}.jpg", sequence=f"night {n // 2}"), {None: LYNX}) for n in range(6)))
    store.add_review(ReviewTarget("media", "3.jpg"), "taxon", LYNX, reviewer="A")
    store.add_review(ReviewTarget("event", event="night 2"), "taxon", DEER, reviewer="A")
    read: list[int] = []

    def noted(connection: Any, run: Run, media: Iterable[int], *given: Any) -> reading.Found:
        read.extend(numbers := list(media))
        return regions_of_run(connection, run, numbers, *given)

    regions_of_run = reading.regions_of_run
    monkeypatch.setattr(reading, "regions_of_run", noted)
    assert [one.taxon for one in paired(store, run)[0]] == [LYNX]
    assert len(read) == 1
    assert [one.taxon for one in paired(store, run, events=True)[0]] == [LYNX, DEER, DEER]
    assert len(read) == 1 + 3


PLAIN, WORDS = Taxon.plain("arctic fox"), Taxon(common_name="arctic fox")


@pytest.mark.parametrize("reviewed", [PLAIN, WORDS, Taxon(common_name="Arctic_fox")])
@pytest.mark.parametrize("answer", [PLAIN, WORDS])
def test_a_label_without_a_taxonomy_agrees_with_itself_however_it_is_stored(reviewed: Taxon, answer: Taxon) -> None:
    other = Taxon(common_name="roe deer")
    found = agreement_of([pair(reviewed, answer, other, answer), pair(other, answer, answer)])
    figures = next(one for one in found.taxa if one.taxon == reviewed)
    assert (figures.n, figures.agree, figures.top1, figures.top5, figures.answered) == (1, 1, 0, 1, 2)
    assert (figures.as_dict()["name"].lower().replace("_", " "), figures.as_dict()["rank"]) == ("arctic fox", "label")
    assert found.confusions == [("roe deer", "arctic fox", 1)]


def test_a_label_without_a_taxonomy_is_a_taxon_only_by_its_name() -> None:
    assert is_within(Taxon(common_name="Lynx fictus"), LYNX)
    assert not is_within(Taxon(common_name="lynx"), LYNX)
    assert not is_within(LYNX, Taxon())
    assert not is_within(Taxon(), Taxon())
