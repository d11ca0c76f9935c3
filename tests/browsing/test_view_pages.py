"""Views over columns in memory: filters, orders, pages that last, and exact counts."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from made_columns import FELIDAE, FOX, HOLED, LYNX, MOTH, PLANT, WILDCAT, made_columns, many_columns

from bioclip_core.errors import UsageError
from bioclip_plugin.browsing.keys import ItemKey
from bioclip_plugin.browsing.pages import ColumnView
from bioclip_plugin.browsing.query import SORTS, ViewQuery

ROWS = [
    {"taxon": LYNX, "probability": 0.9, "margin": 0.8, "camera": "north", "event": "e1", "at": "2026-05-01T23:10:00"},
    {"taxon": WILDCAT, "probability": 0.6, "camera": "north", "event": "e1", "at": "2026-05-02T03:59:59", "review": 0},
    {"taxon": FELIDAE, "probability": 0.9, "margin": 0.1, "camera": "south", "flags": ("prior_ignored",), "review": 1},
    {"taxon": FOX, "probability": 0.95, "camera": "south", "at": "2026-05-02T12:00:00", "flags": ("prior_ignored", "unsure")},
    {"verdict": "blank"},
    {"failure": "decode: it is empty", "camera": "south"},
    {"verdict": "unknown", "best": 0.3, "review": 2},
    {},
    {"taxon": MOTH},
    {"taxon": PLANT},
    {"taxon": HOLED},
    {"verdict": "person", "media": 11, "region": 12},
]  # fmt: skip
REVIEWS = [
    {"taxon": FOX, "reviewer": "Ada", "at": "2026-06-01T10:00:00"},
    {"verdict": "blank", "reviewer": "Ben", "at": "2026-06-01T09:00:00"},
    {"verdict": "unidentifiable", "reviewer": "Ada", "at": "2026-06-01T11:00:00"},
]
VIEW = ColumnView(made_columns(ROWS, REVIEWS), 7)
FAMILY = "Animalia/Chordata/Mammalia/Carnivora/Felidae"


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (ViewQuery(), list(range(12))),
        (ViewQuery(taxon=FAMILY), [0]),
        (ViewQuery(taxon=FAMILY, named="decision"), [0, 1, 2]),
        (ViewQuery(taxon="Animalia/Chordata/Mammalia/Carnivora/Canidae", named="review"), [1]),
        (ViewQuery(taxon="Animalia/Chordata/Mammalia/Carnivora/Canidae"), [1, 3]),
        (ViewQuery(taxon="Plantae"), [9]),
        (ViewQuery(taxon="Animalia////Fabulidae"), [10]),
        (ViewQuery(cameras=("south",)), [2, 3, 5]),
        (ViewQuery(cameras=("north", "")), [0, 1, 4, 6, 7, 8, 9, 10, 11]),
        (ViewQuery(from_day=date(2026, 5, 2)), [1, 3]),
        (ViewQuery(to_day=date(2026, 5, 1)), [0]),
        (ViewQuery(hours=(22, 3)), [0, 1]),
        (ViewQuery(hours=(4, 21)), [3]),
        (ViewQuery(least=0.9), [0, 2, 3, 8, 9, 10]),
        (ViewQuery(most=0.9, cameras=("south",)), [2]),
        (ViewQuery(verdicts=("blank", "person")), [4, 11]),
        (ViewQuery(verdicts=("undecided",)), [7]),
        (ViewQuery(review_verdicts=("blank", "unidentifiable")), [2, 6]),
        (ViewQuery(flags=("prior_ignored",)), [2, 3]),
        (ViewQuery(flags=("prior_ignored", "unsure")), [3]),
        (ViewQuery(reviewed="no", cameras=("north",)), [0]),
        (ViewQuery(reviewed="yes"), [1, 2, 6]),
        (ViewQuery(reviewer="Ada"), [1, 6]),
        (ViewQuery(reviewer="Nobody"), []),
        (ViewQuery(failures="only"), [5]),
        (ViewQuery(failures="no", cameras=("south",)), [2, 3]),
        (ViewQuery(event="e1"), [0, 1]),
        (ViewQuery(sort="probability", taxon=FAMILY, named="decision"), [1, 0, 2]),
        (ViewQuery(sort="probability", taxon=FAMILY, named="decision", descending=True), [0, 2, 1]),
        (ViewQuery(sort="margin", taxon=FAMILY, named="decision"), [2, 0, 1]),
        (ViewQuery(sort="margin", taxon=FAMILY, named="decision", descending=True), [0, 2, 1]),
        (ViewQuery(sort="reviewed_at", reviewed="yes"), [2, 1, 6]),
        (ViewQuery(sort="time", descending=True, cameras=("north", "south")), [3, 1, 0, 2, 5]),
    ],
)
def test_a_view_has_these_rows_in_this_order_and_its_address_gives_it_again(query: ViewQuery, rows: list[int]) -> None:
    assert VIEW.rows(query).tolist() == rows
    assert VIEW.count(query) == len(rows) == VIEW.facets(query).total
    assert ViewQuery.from_params(query.to_params()) == query


def test_each_filter_is_counted_beside_the_other_filters() -> None:
    facets = VIEW.facets(ViewQuery(cameras=("south",), named="decision"))
    assert facets.total == 3
    assert facets.cameras == {"": 7, "north": 2, "south": 3}
    assert facets.verdicts == {"taxon": 2}
    assert facets.flags == {"prior_ignored": 2, "unsure": 1}
    assert (facets.hours[12], sum(facets.hours)) == (1, 1)
    assert (facets.reviewed, facets.failed, facets.without_taxon) == (1, 1, 1)
    assert facets.review_verdicts == {"blank": 1}
    assert [(one.taxon.name, one.count, one.has_below) for one in facets.taxa] == [("Animalia", 2, True)]
    below = VIEW.facets(ViewQuery(taxon=FAMILY, named="decision"))
    assert [one.name for one in below.above] == ["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae"]
    assert {one.taxon.name: one.count for one in below.taxa} == {"Felis": 1, "Lynx": 1}
    assert below.without_taxon == 1, "one row is determined to the family alone"
    top = VIEW.facets(ViewQuery())
    assert {one.taxon.name: one.count for one in top.taxa} == {"Animalia": 5, "Plantae": 1}
    assert top.verdicts == {"taxon": 7, "unknown": 1, "blank": 1, "person": 1, "undecided": 1}
    holed = VIEW.facets(ViewQuery(taxon="Animalia"))
    assert {one.taxon.name for one in holed.taxa} == {"Arthropoda", "Chordata", "Fabulidae"}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("descending", [False, True])
def test_pages_forth_and_back_give_each_row_once_whatever_ties_and_missing_values_there_are(
    sort: str, descending: bool
) -> None:
    columns = many_columns(257)
    few = replace(columns, probability_N=np.round(columns.probability_N, 1), margin_N=np.round(columns.margin_N, 1))
    view, query = ColumnView(few, 1), ViewQuery(sort=sort, descending=descending, seed=3)  # type: ignore[arg-type]
    page, pages = view.page(query, size=20), []
    assert page.previous is None
    while True:
        assert page.before == sum(len(one.rows) for one in pages)
        pages.append(page)
        if page.next is None:
            break
        page = view.page(query, after=page.next, size=20)
    forth = np.concatenate([one.rows for one in pages])
    assert forth.tolist() == view.rows(query).tolist()
    assert sorted(forth.tolist()) == list(range(257))
    back = [page.rows]
    while page.previous is not None:
        page = view.page(query, before=page.previous, size=20)
        back.insert(0, page.rows)
    assert np.concatenate(back).tolist() == forth.tolist()


def test_rows_without_a_value_come_last_in_both_directions() -> None:
    columns = many_columns(100)
    without = int(np.isnan(columns.probability_N).sum())
    assert 0 < without < 50
    for descending in (False, True):
        rows = ColumnView(columns, 1).rows(ViewQuery(sort="probability", descending=descending))
        assert np.isnan(columns.probability_N[rows[-without:]]).all()


@pytest.mark.parametrize("sort", ["position", "probability", "random", "name"])
def test_a_cursor_keeps_its_place_when_rows_come_and_go(sort: str) -> None:
    """Every second row is there at first; then the others come, and some of the first go."""
    whole = many_columns(120)
    query = ViewQuery(sort=sort)  # type: ignore[arg-type]

    def part(keep: np.ndarray) -> ColumnView:
        return ColumnView(replace(whole, **{name: array[keep] for name, array in whole.arrays.items()}), 1)

    numbers = np.arange(120)
    first = part(numbers % 2 == 0)
    page = first.page(query, size=25)
    seen = first.columns.media_N[page.rows]
    later = part((numbers % 2 == 1) | (numbers % 3 > 0))
    following = later.page(query, after=page.next, size=1_000)
    after = later.columns.media_N[following.rows]
    order = ColumnView(whole, 1).rows(query)
    last = np.flatnonzero(whole.media_N[order] == seen[-1])[0]
    wanted = [number for number in whole.media_N[order[last + 1 :]] if number in set(later.columns.media_N.tolist())]
    if sort != "name" or seen[-1] in later.columns.media_N:
        assert after.tolist() == wanted


def test_a_random_order_depends_on_its_seed_alone() -> None:
    view = ColumnView(many_columns(500), 1)
    one, again, other = (view.rows(ViewQuery(sort="random", seed=seed)).tolist() for seed in (1, 1, 2))
    assert one == again != other
    assert abs(np.corrcoef(one, np.arange(500))[0, 1]) < 0.2


def _changed(text: str, **changes: object) -> str:
    parts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    for place, value in changes.items():
        parts[int(place[1:])] = value
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def test_cursors_that_were_tampered_with_or_are_of_another_view_are_refused() -> None:
    view, query = ColumnView(many_columns(50), 1), ViewQuery(sort="probability")
    good = view.page(query, size=10).next
    assert good is not None
    wrong = [
        "", "!", "é", "A" * 5_000, "bnVsbA", good[:-3], good + "AAAA",
        _changed(good, _1="0.5"), _changed(good, _1=True), _changed(good, _2=-1), _changed(good, _2=1 << 70), _changed(good, _3=1.5),
        _changed(good, _1=float("nan")), _changed(good, _0="1:0000"), base64.urlsafe_b64encode(b"[" * 200).decode(),
    ]  # fmt: skip
    for text in wrong:
        with pytest.raises(UsageError, match="first page"):
            view.page(query, after=text)
    for other in (replace(query, descending=True), replace(query, least=0.5)):
        with pytest.raises(UsageError, match="first page"):
            view.page(other, after=good)
    with pytest.raises(UsageError, match="first page"):
        ColumnView(many_columns(50), 2).page(query, after=good)
    with pytest.raises(UsageError, match="one of the two"):
        view.page(query, after=good, before=good)
    for size in (0, -1, 1_001):
        with pytest.raises(UsageError, match="1 to 1,000"):
            view.page(query, size=size)
    # A place that no row has is a place all the same.
    assert len(view.page(query, after=_changed(good, _1=0.7, _2=10**15, _3=0), size=50).rows) > 0


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ([("colour", "red")], "taxon, named, cameras"),
        ([("sort", "size")], "position, name"),
        ([("sort", "time"), ("sort", "name")], "give it once"),
        ([("verdicts", "taxon"), ("verdicts", "tiger")], "undecided"),
        ([("from_day", "yesterday")], "2026-05-31"),
        ([("hours", "5")], "22-4"),
        ([("hours", "5-24")], "0 to 23"),
        ([("least", "1.5")], "0 to 1"),
        ([("most", "nan")], "0 to 1"),
        ([("least", "high")], "0 to 1"),
        ([("descending", "1")], "yes, no"),
        ([("seed", "-1")], "15 digits"),
        ([("reviewed", "maybe")], "any, yes, no"),
        ([("event", "x" * 5_000)], "4,000"),
        ([("cameras", str(number)) for number in range(1_001)], "1,000"),
    ],
)
def test_parameters_that_a_view_does_not_have_are_refused_with_those_that_it_has(
    params: list[tuple[str, str]], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        ViewQuery.from_params(params)


@pytest.mark.parametrize(
    ("query", "match"),
    [
        (ViewQuery(taxon="Animalia/Felidae"), "not one of this run"),
        (ViewQuery(cameras=("west",)), "north, south"),
        (ViewQuery(flags=("odd",)), "prior_ignored, unsure"),
        (ViewQuery(event="e9"), "e1"),
    ],
)
def test_words_that_the_run_does_not_have_are_refused(query: ViewQuery, match: str) -> None:
    for ask in (VIEW.count, VIEW.page, VIEW.facets, VIEW.rows):
        with pytest.raises(UsageError, match=match):
            ask(query)  # type: ignore[operator]


def test_items_are_found_by_their_keys_and_several_boxes_of_an_image_are_several_items() -> None:
    rows = [
        {"media": 5, "region": 8},
        {"media": 5, "region": 11},
        {"media": 3, "region": 2},
        {"media": 9, "failure": "gone"},
    ]
    view = ColumnView(made_columns([{**row, "position": place // 2 + 1} for place, row in enumerate(rows)]), 7)
    assert [view.row_of(view.key_of(row)) for row in range(4)] == [0, 1, 2, 3]
    assert view.row_of(ItemKey(7, 5, 0)) == 0, "the image had no regions when its key was given"
    assert [view.row_of(ItemKey(*key)) for key in ((7, 5, 9), (8, 5, 8), (7, 4, 1), (7, 10, 0))] == [None] * 4


def test_a_run_without_rows_has_empty_pages() -> None:
    view = ColumnView(made_columns([]), 1)
    page = view.page(ViewQuery(sort="time"))
    assert (page.rows.tolist(), page.next, page.previous, page.total) == ([], None, None, 0)
    assert view.facets(ViewQuery()).total == 0
