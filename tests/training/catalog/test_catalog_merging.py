"""One decision per image: which of several labels counts, and what becomes of the others."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from catalog_samples import LYNX, MOTH, build, listed, picture, save, source_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog import writing
from bioclip_training.catalog.evidence import Evidence, Standing, evidence_of, reviewed
from bioclip_training.catalog.merging import pairs, tracing
from bioclip_training.catalog.merging.deciding import Claim, decide, regions_of, subjects_of
from bioclip_training.catalog.rows import Catalog, LabelledItem
from bioclip_training.catalog.sources import LabelledSource, SkippedRow

FOX = {"kingdom": "Animalia", "family": "Fictidae", "genus": "Vulpes", "specificEpithet": "ficta"}
GENUS = {"kingdom": "Animalia", "family": "Fictidae", "genus": "Lynx"}
NOON = datetime(2021, 5, 1, 12, tzinfo=UTC)
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)


def reviews(folder: Path, *rows: Mapping[str, Any], name: str = "store.db") -> LabelledSource:
    """Return reviews as a source: ``image`` and perhaps ``box``, ``by``, ``at``, ``event``, a ``verdict`` or names."""

    def items() -> Iterator[LabelledItem | SkippedRow]:
        for row in rows:
            verdict = row.get("verdict", "")
            evidence = reviewed(
                row.get("at", NOON), row.get("by", "Ann"), of_event=bool(row.get("event")), verdict=verdict
            )
            cells = {key: row[key] for key in row.keys() - {"image", "box", "by", "at", "event", "verdict"}}
            item = LabelledItem(str(row["image"]), folder / row["image"], cells, name, 0, row.get("box"), evidence)
            yield SkippedRow(item.uri, name, "no taxon", f"the review says {verdict}", item=item) if verdict else item

    return LabelledSource(name, "reviews", items)


def labels(catalog: Catalog) -> dict[str, str]:
    return {catalog.key(row): catalog.taxon(row).scientific_name for row in range(len(catalog))}


def test_a_persons_review_counts_before_every_other_label(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3, 4)
    images = [{"image": f"{seed}.png"} for seed in (1, 2, 3, 4)]
    folders = source_of(tmp_path, [{**image, **MOTH} for image in images], "tree", "folder")
    catalogue = source_of(tmp_path, [{**image, **LYNX} for image in images[:3]], "old.csv")
    dated = source_of(tmp_path, [{**image, **FOX, "dateIdentified": "1999"} for image in images[:2]], "dated.csv")
    review = reviews(tmp_path, {"image": "1.png", **MOTH})
    catalog, built = build(tmp_path, folders, catalogue, dated, review)
    assert labels(catalog) == {
        "1.png": "Invenia alba",
        "2.png": "Vulpes ficta",
        "3.png": "Lynx fictus",
        "4.png": "Invenia alba",
    }
    kinds = catalog.table.column("evidence").to_pylist()
    assert dict(zip(catalog.column("uri"), kinds, strict=True)) == {
        "1.png": "review", "2.png": "identification", "3.png": "catalogue", "4.png": "folder",
    }  # fmt: skip
    assert built.facts["rows_read"] == 10 == len(catalog) + sum(built.facts["left_out"].values())


@pytest.mark.parametrize(
    "verdict", ["blank", "person", "vehicle", "not in label set", "unidentifiable", "several taxa at once"]
)
def test_a_review_that_is_no_taxon_takes_the_image_out_of_every_source(tmp_path: Path, verdict: str) -> None:
    save(tmp_path, 1, 2)
    shutil.copy(tmp_path / "1.png", tmp_path / "copy.png")
    table = source_of(tmp_path, [{"image": "copy.png", **LYNX}, {"image": "2.png", **LYNX}])
    catalog, built = build(tmp_path, table, reviews(tmp_path, {"image": "1.png", "verdict": verdict}))
    assert catalog.column("uri") == ["2.png"]
    assert built.facts["left_out"] == {"no taxon": 1, "withdrawn by a review": 1}
    gone = {row["uri"]: row for row in listed(built.removed)}
    assert gone["copy.png"]["reason"] == f"the review by Ann of 2021-05-01T12:00:00Z in store.db says {verdict}"
    assert gone["1.png"]["reason"] == f"the review says {verdict}"
    assert [(row["label"], row["other_label"], row["outcome"]) for row in listed(built.merged)] == [
        (verdict, "Lynx fictus", "withdrawn")
    ]


def test_the_newest_review_counts_whichever_store_it_is_in(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    early, late = NOON - timedelta(days=300), NOON
    first = reviews(
        tmp_path,
        {"image": "1.png", "at": late, "verdict": "blank"},
        {"image": "2.png", "at": early, "verdict": "blank"},
        {"image": "3.png", "at": late, **FOX},
        name="a.db",
    )
    second = reviews(
        tmp_path, *({"image": f"{n}.png", "at": early if n != 2 else late, **LYNX} for n in (1, 2, 3)), name="b.db"
    )
    for sources in ((first, second), (second, first)):
        catalog, built = build(tmp_path, *sources)
        assert labels(catalog) == {"2.png": "Lynx fictus", "3.png": "Vulpes ficta"}
        assert built.facts["merging"]["undecided_images"] == 0


def test_a_named_reviewer_counts_before_a_newer_import_without_a_name(tmp_path: Path) -> None:
    save(tmp_path, 1)
    named = {"image": "1.png", **LYNX, "by": "Ann", "at": NOON - timedelta(days=900)}
    imported = {"image": "1.png", **FOX, "by": "unknown", "at": NOON}
    catalog, _ = build(tmp_path, reviews(tmp_path, named), reviews(tmp_path, imported, name="import.db"))
    assert labels(catalog) == {"1.png": "Lynx fictus"}


def test_two_people_who_differ_at_one_moment_decide_nothing_and_both_are_listed(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    store = reviews(
        tmp_path,
        {"image": "1.png", **LYNX, "by": "Ann"},
        {"image": "1.png", **FOX, "by": "Bo"},
        {"image": "2.png", **FOX},
    )
    table = source_of(tmp_path, [{"image": "1.png", **LYNX}])
    catalog, built = build(tmp_path, table, store)
    assert labels(catalog) == {"2.png": "Vulpes ficta"}
    assert built.facts["left_out"] == {"undecided": 3}
    assert built.facts["merging"]["undecided_images"] == 1
    assert [(row["source"], row["name"]) for row in listed(built.removed)] == [
        ("table.csv", "Lynx fictus"), ("store.db", "Lynx fictus"), ("store.db", "Vulpes ficta"),
    ]  # fmt: skip
    assert [(row["label"], row["other_label"], row["outcome"]) for row in listed(built.merged)] == [
        ("Vulpes ficta", "Lynx fictus", "undecided"), ("Vulpes ficta", "Lynx fictus", "undecided"),
        ("Lynx fictus", "Vulpes ficta", "undecided"),
    ]  # fmt: skip


def test_two_tables_that_contradict_each_other_are_undecided_unless_one_is_preferred(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    old = source_of(tmp_path, [{"image": f"{n}.png", **LYNX} for n in (1, 2)], "old.csv")
    new = source_of(tmp_path, [{"image": "1.png", **FOX}], "new.csv")
    for sources in ((old, new), (new, old)):
        catalog, built = build(tmp_path, *sources)
        assert labels(catalog) == {"2.png": "Lynx fictus"}
        assert built.facts["left_out"] == {"undecided": 2}
        for preferred, name in (("new.csv", "Vulpes ficta"), ("old.csv", "Lynx fictus")):
            assert labels(build(tmp_path, *sources, prefer=(preferred,))[0]) == {"1.png": name, "2.png": "Lynx fictus"}
    with pytest.raises(UsageError, match=r"--prefer newer.csv: this is not a source.*there are old.csv, new.csv"):
        build(tmp_path, old, new, prefer=("newer.csv",))


def test_a_preferred_source_does_not_count_before_a_persons_review(tmp_path: Path) -> None:
    save(tmp_path, 1)
    table = source_of(tmp_path, [{"image": "1.png", **LYNX}])
    catalog, _ = build(tmp_path, table, reviews(tmp_path, {"image": "1.png", **FOX}), prefer=("table.csv",))
    assert labels(catalog) == {"1.png": "Vulpes ficta"}


def test_of_two_exports_of_one_collection_the_newer_identification_counts(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    dates = ("1999-03-04", "12.V.1993", "2019")
    old = [{"image": f"{n}.png", **LYNX, "dateIdentified": date} for n, date in enumerate(dates, 1)]
    new = [
        {"image": "1.png", **FOX, "dateIdentified": "2021-07"},
        {"image": "2.png", **LYNX, "dateIdentified": "12.V.1993"},
        {"image": "3.png", **FOX, "dateIdentified": "2019-05-03"},  # before or after an identification of 2019
    ]
    catalog, built = build(tmp_path, source_of(tmp_path, new, "new.csv"), source_of(tmp_path, old, "old.csv"))
    assert labels(catalog) == {"1.png": "Vulpes ficta", "2.png": "Lynx fictus"}
    assert catalog.table.column("date_identified").to_pylist() == ["2021-07", "1993-05-12"]
    assert built.facts["left_out"] == {"merged": 2, "undecided": 2}


def test_a_history_of_identifications_in_one_table_gives_the_newest(tmp_path: Path) -> None:
    save(tmp_path, 1)
    rows = [
        {"image": "1.png", **FOX, "dateIdentified": "1876", "identifiedBy": "Sidney H."},
        {"image": "1.png", **LYNX, "dateIdentified": "1954-01-01", "identifiedBy": "B. Ghost"},
        {"image": "1.png", **MOTH},
    ]
    catalog, built = build(tmp_path, source_of(tmp_path, rows))
    assert (labels(catalog), catalog.table.column("identified_by").to_pylist()) == (
        {"1.png": "Lynx fictus"},
        ["B. Ghost"],
    )
    assert [row["other_evidence"] for row in listed(built.merged)] == [
        "identification by Sidney H. of 1876",
        "catalogue name",
    ]


def test_the_order_of_day_and_month_is_that_of_the_sources_other_dates(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    first = [
        {"image": "1.png", **LYNX, "dateIdentified": "03/04/2024"},
        {"image": "2.png", **LYNX, "dateIdentified": "31/12/2023"},
    ]
    second = [{"image": "1.png", **FOX, "dateIdentified": "2024-03-20"}]
    catalog, _ = build(tmp_path, source_of(tmp_path, first, "a.csv"), source_of(tmp_path, second, "b.csv"))
    assert labels(catalog)["1.png"] == "Lynx fictus"  # of 3 April
    first[1]["dateIdentified"] = "not long ago"
    catalog, built = build(tmp_path, source_of(tmp_path, first, "a.csv"), source_of(tmp_path, second, "b.csv"))
    assert labels(catalog) == {"2.png": "Lynx fictus"}  # 3 April or 4 March
    assert built.facts["dates_not_read"] == {"rows": 1, "first": "not long ago: it cannot be read"}


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("2099-01-01", "it is after today"),
        ("45356", "it looks like a day number of a spreadsheet"),
        ("soon", "it cannot be read"),
    ],
)
def test_a_date_that_cannot_be_true_decides_nothing_and_is_named(tmp_path: Path, written: str, fault: str) -> None:
    save(tmp_path, 1)
    wrong = source_of(tmp_path, [{"image": "1.png", **LYNX, "dateIdentified": written}], "wrong.csv")
    dated = source_of(tmp_path, [{"image": "1.png", **FOX, "dateIdentified": "2024-01-01"}], "dated.csv")
    catalog, built = build(tmp_path, wrong, dated)
    assert list(labels(catalog).values()) == [" ".join((FOX["genus"], FOX["specificEpithet"]))]
    assert built.facts["dates_not_read"] == {"rows": 1, "first": f"{written}: {fault}"}


@pytest.mark.parametrize("verdict", ["", "blank"])
def test_a_review_of_the_future_yields_to_every_other_one_and_is_named(tmp_path: Path, verdict: str) -> None:
    save(tmp_path, 1, 2)
    wrong = {"verdict": verdict} if verdict else FOX
    ahead = [{"image": f"{n}.png", **wrong, "at": datetime(2999, 1, 1, tzinfo=UTC)} for n in (1, 2)]
    table = source_of(tmp_path, [{"image": f"{n}.png", **LYNX} for n in (1, 2)])
    catalog, built = build(
        tmp_path, table, reviews(tmp_path, *ahead), reviews(tmp_path, {"image": "1.png", **MOTH}, name="new.db")
    )
    left = {} if verdict else {"2.png": "Vulpes ficta"}  # a person's review all the same
    assert labels(catalog) == {"1.png": "Invenia alba", **left}
    assert built.facts["dates_not_read"] == {"rows": 2, "first": "2999-01-01T00:00:00Z: it is after today"}
    assert {row["other_evidence"] for row in listed(built.merged) if row["other_source"] == "store.db"} == {
        "review by Ann"
    }
    if not verdict:
        assert catalog.table.column("date_identified").to_pylist() == ["2021-05-01T12:00:00Z", ""]


def test_compatible_names_become_the_more_specific_one(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    coarse = source_of(tmp_path, [{"image": f"{n}.png", **GENUS} for n in (1, 2)], "coarse.csv")
    fine = source_of(tmp_path, [{"image": "1.png", **LYNX}], "fine.csv")
    tree = source_of(tmp_path, [{"image": "2.png", **LYNX}], "tree", "folder")
    catalog, built = build(tmp_path, coarse, fine, tree)
    assert labels(catalog) == {"1.png": "Lynx fictus", "2.png": "Lynx fictus"}
    assert built.facts["left_out"] == {"merged": 2}


@pytest.mark.parametrize("dated", [False, True])
def test_a_review_or_identification_that_stops_at_the_genus_stays_there(tmp_path: Path, dated: bool) -> None:
    save(tmp_path, 1)
    table = source_of(tmp_path, [{"image": "1.png", **LYNX}], "old.csv")
    rows = [{"image": "1.png", **GENUS, "dateIdentified": "2020"}]
    careful = source_of(tmp_path, rows, "new.csv") if dated else reviews(tmp_path, {"image": "1.png", **GENUS})
    catalog, built = build(tmp_path, table, careful)
    assert labels(catalog) == {"1.png": "Lynx"}
    assert listed(built.merged)[0]["outcome"] == "replaced"


def test_a_species_between_two_that_share_its_genus_is_no_compromise(tmp_path: Path) -> None:
    save(tmp_path, 1)
    other = {**LYNX, "specificEpithet": "alter"}
    tables = [
        source_of(tmp_path, [{"image": "1.png", **taxon}], f"{n}.csv") for n, taxon in enumerate((LYNX, GENUS, other))
    ]
    with pytest.raises(
        SourceError, match=r"none of 3 rows can be used \(3 undecided\).*1.png.*contradicts 'Lynx alter' in 2.csv"
    ):
        build(tmp_path, *tables)


def test_the_same_bytes_under_another_path_and_the_same_table_twice_are_one_row_each(tmp_path: Path) -> None:
    save(tmp_path / "here", 1, 2)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    here = source_of(tmp_path / "here", [{"image": f"{n}.png", **LYNX} for n in (1, 2)], "here.csv")
    there = source_of(tmp_path / "there", [{"image": f"{n}.png", **LYNX} for n in (2, 1)], "there.csv")
    again = source_of(tmp_path / "here", [{"image": f"{n}.png", **LYNX} for n in (1, 2)], "link/here.csv")
    first, built = build(tmp_path, here, there, again)
    assert (first.column("uri"), built.facts["left_out"]) == (["here/1.png", "here/2.png"], {"merged": 4})
    other, _ = build(tmp_path, again, there, here)
    assert set(other.column("uri")) == {"here/1.png", "here/2.png"}


def test_images_of_one_name_in_two_collections_are_two_images(tmp_path: Path) -> None:
    for place, seed in (("video 1", 1), ("video 2", 2)):
        (tmp_path / place).mkdir()
        picture(seed).save(tmp_path / place / "frame 0001.png")
    sources = [
        source_of(tmp_path / place, [{"image": "frame 0001.png", **taxon}], f"{place}.csv")
        for place, taxon in (("video 1", LYNX), ("video 2", MOTH))
    ]
    assert set(labels(build(tmp_path, *sources)[0]).values()) == {"Lynx fictus", "Invenia alba"}


def test_building_with_the_result_as_a_further_source_changes_nothing(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    table = source_of(tmp_path, [{"image": f"{n}.png", **LYNX} for n in (1, 2)], "a.csv")
    store = reviews(tmp_path, {"image": "1.png", **FOX})
    once = labels(build(tmp_path, table, store)[0])
    assert (
        labels(build(tmp_path, table, table, store, store)[0])
        == once
        == {"1.png": "Vulpes ficta", "2.png": "Lynx fictus"}
    )


def test_near_duplicates_with_different_labels_are_only_reported(tmp_path: Path) -> None:
    save(tmp_path, 1)
    picture(1).resize((48, 40)).save(tmp_path / "small.png")
    rows = [{"image": "1.png", **LYNX, "split": "train"}, {"image": "small.png", **FOX, "split": "train"}]
    catalog, built = build(tmp_path, source_of(tmp_path, rows))
    assert (len(catalog), built.merged) == (2, None)
    assert built.facts["duplicates"]["near_pairs_of_other_taxa"] == 1


def test_a_held_out_copy_keeps_a_corrected_image_out_of_training(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    rows = [{"image": f"{n}.png", **LYNX, "split": "val"} for n in (1, 2)]
    other = source_of(tmp_path, [{"image": "1.png", **LYNX, "split": "train"}], "more.csv")
    catalog, built = build(tmp_path, source_of(tmp_path, rows), other, reviews(tmp_path, {"image": "1.png", **FOX}))
    assert dict(zip(labels(catalog).values(), catalog.column("split"), strict=True)) == {
        "Vulpes ficta": "val",
        "Lynx fictus": "val",
    }
    assert built.facts["left_out"] == {"merged": 2}


def test_reviews_without_a_group_of_their_own_change_no_draw_of_a_table(tmp_path: Path) -> None:
    save(tmp_path, *range(20))
    rows = [{"image": f"{n}.png", **LYNX, "eventID": f"night {n // 2}"} for n in range(20)]
    store = reviews(
        tmp_path, *({"image": f"{n}.png", "box": LEFT if n % 3 else None, **FOX, "sequence": f"a{n}"} for n in range(5))
    )
    alone, _ = build(tmp_path, source_of(tmp_path, rows), group_by=None, val=0.4)
    split_of = dict(zip(alone.column("uri"), alone.column("split"), strict=True))
    both, _ = build(tmp_path, store, source_of(tmp_path, rows), group_by=None, val=0.4)
    assert {uri: split_of[uri] for uri in both.column("uri")} == dict(
        zip(both.column("uri"), both.column("split"), strict=True)
    )
    assert {group.split()[0] for group in both.column("group")} == {"night"}


def test_a_row_that_stays_keeps_the_licence_and_id_of_the_rows_merged_with_it(tmp_path: Path) -> None:
    save(tmp_path, 1)
    table = source_of(
        tmp_path, [{"image": "1.png", **LYNX, "license": "CC BY", "occurrenceID": "lynx:1", "eventID": "night"}]
    )
    store = reviews(tmp_path, {"image": "1.png", "box": LEFT, **FOX})
    catalog, _ = build(tmp_path, store, table, group_by=None)
    (row,) = catalog.table.to_pylist()
    assert (row["source"], row["licence"], row["source_id"], row["bboxWidth"]) == ("store.db", "CC BY", "lynx:1", 0.5)


def test_a_wrong_label_neither_trains_nor_holds_a_group_back(tmp_path: Path) -> None:
    """The only image of a taxon that its review took away leaves no taxon behind."""
    save(tmp_path, 1, 2)
    table = source_of(tmp_path, [{"image": "1.png", **MOTH}, {"image": "2.png", **LYNX}])
    catalog, _ = build(tmp_path, table, reviews(tmp_path, {"image": "1.png", **LYNX}), val=0.9)
    assert [taxon.scientific_name for taxon in catalog.taxa] == ["Lynx fictus"]
    assert "train" in catalog.column("split")


# -- events --------------------------------------------------------------------------------------------------------------


def test_a_review_of_the_image_counts_before_a_newer_one_of_its_event(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    table = source_of(tmp_path, [{"image": f"{n}.png", **MOTH, "dateIdentified": "2022"} for n in (1, 2, 3)])
    store = reviews(
        tmp_path,
        {"image": "1.png", **FOX, "at": NOON - timedelta(days=99)},
        *({"image": f"{n}.png", **LYNX, "event": "night"} for n in (1, 2)),
        {"image": "3.png", "verdict": "blank", "event": "day"},
    )
    catalog, _ = build(tmp_path, table, store)
    assert labels(catalog) == {"1.png": "Vulpes ficta", "2.png": "Lynx fictus"}
    assert catalog.table.column("evidence").to_pylist() == ["review", "event review"]


# -- boxes ---------------------------------------------------------------------------------------------------------------


def test_a_review_of_one_box_leaves_the_other_box_alone(tmp_path: Path) -> None:
    save(tmp_path, 1)
    table = source_of(tmp_path, [{"image": "1.png", "box": box, **LYNX} for box in (LEFT, RIGHT)])
    catalog, _ = build(tmp_path, table, reviews(tmp_path, {"image": "1.png", "box": LEFT, **FOX}))
    assert labels(catalog) == {"1.png#xywh=0,0,0.5,1": "Vulpes ficta", "1.png#xywh=0.5,0,0.5,1": "Lynx fictus"}


@pytest.mark.parametrize("whole_is_reviewed", [False, True])
def test_the_label_of_an_image_is_about_its_only_box(tmp_path: Path, whole_is_reviewed: bool) -> None:
    save(tmp_path, 1)
    whole, boxed = {"image": "1.png"}, {"image": "1.png", "box": LEFT}
    table = source_of(tmp_path, [{**(boxed if whole_is_reviewed else whole), **LYNX}])
    store = reviews(tmp_path, {**(whole if whole_is_reviewed else boxed), **FOX})
    assert labels(build(tmp_path, table, store)[0]) == {"1.png#xywh=0,0,0.5,1": "Vulpes ficta"}


def test_the_label_of_an_image_with_several_boxes_yields_to_the_one_that_it_fits(tmp_path: Path) -> None:
    save(tmp_path, 1)
    boxes = source_of(
        tmp_path, [{"image": "1.png", "box": LEFT, **LYNX}, {"image": "1.png", "box": RIGHT, **FOX}], "boxes.csv"
    )
    whole = source_of(tmp_path, [{"image": "1.png", **LYNX}], "whole.csv")
    catalog, built = build(tmp_path, boxes, whole)
    assert set(labels(catalog).values()) == {"Lynx fictus", "Vulpes ficta"}
    assert [(row["uri"], row["label"], row["outcome"]) for row in listed(built.merged)] == [
        ("1.png", "Lynx fictus", "label of the whole image")
    ]


def test_a_review_of_an_image_renames_all_its_boxes_of_one_taxon_and_none_of_several(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    rows = [
        {"image": f"{n}.png", "box": box, **(FOX if n == 2 and box == RIGHT else LYNX)}
        for n in (1, 2)
        for box in (LEFT, RIGHT)
    ]
    store = reviews(tmp_path, *({"image": f"{n}.png", **MOTH} for n in (1, 2)))
    catalog, built = build(tmp_path, source_of(tmp_path, rows), store)
    assert labels(catalog) == {"1.png#xywh=0,0,0.5,1": "Invenia alba", "1.png#xywh=0.5,0,0.5,1": "Invenia alba"}
    assert built.facts["left_out"] == {"merged": 1, "undecided": 3}


def test_a_blank_image_has_no_box_but_one_that_was_reviewed_later(tmp_path: Path) -> None:
    save(tmp_path, 1)
    table = source_of(tmp_path, [{"image": "1.png", "box": box, **LYNX} for box in (LEFT, RIGHT)])
    store = reviews(
        tmp_path,
        {"image": "1.png", "verdict": "blank"},
        {"image": "1.png", "box": LEFT, **FOX, "at": NOON + timedelta(hours=1)},
    )
    assert labels(build(tmp_path, table, store)[0]) == {"1.png#xywh=0,0,0.5,1": "Vulpes ficta"}


def test_boxes_of_two_detectors_are_one_if_they_overlap_each_other_most(tmp_path: Path) -> None:
    save(tmp_path, 1)
    table = source_of(
        tmp_path, [{"image": "1.png", "box": box, **LYNX} for box in ((0.1, 0.1, 0.3, 0.5), (0.6, 0.1, 0.3, 0.5))]
    )
    store = reviews(tmp_path, {"image": "1.png", "box": (0.12, 0.1, 0.3, 0.52), **FOX})
    catalog, _ = build(tmp_path, table, store)
    assert sorted(labels(catalog).values()) == ["Lynx fictus", "Vulpes ficta"]
    assert labels(catalog)["1.png#xywh=0.6,0.1,0.3,0.5"] == "Lynx fictus"


# -- occurrences ---------------------------------------------------------------------------------------------------------


def test_the_images_of_an_occurrence_that_two_sources_share_have_one_label(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    old = [{"image": f"{n}.png", **LYNX, "occurrenceID": "urn:museum:7", "dateIdentified": "1990"} for n in (1, 2)]
    new = [{"image": "3.png", **FOX, "occurrenceID": "urn:museum:7", "dateIdentified": "2020"}]
    catalog, built = build(tmp_path, source_of(tmp_path, old, "old.csv"), source_of(tmp_path, new, "new.csv"))
    assert set(labels(catalog).values()) == {"Vulpes ficta"}
    assert len(catalog) == 3
    assert built.facts["merging"]["replaced_labels"] == 2
    for row in (*old, *new):
        del row["dateIdentified"]
    with pytest.raises(SourceError, match=r"none of 3 rows can be used \(3 undecided\)"):
        build(tmp_path, source_of(tmp_path, old, "old.csv"), source_of(tmp_path, new, "new.csv"))


def test_an_id_that_one_source_gives_several_taxa_joins_nothing(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    sheet = [
        {"image": "1.png", **LYNX, "occurrenceID": "sheet:1"},
        {"image": "2.png", **FOX, "occurrenceID": "sheet:1"},
    ]
    other = [{"image": "3.png", **MOTH, "occurrenceID": "sheet:1"}]
    catalog, _ = build(tmp_path, source_of(tmp_path, sheet, "a.csv"), source_of(tmp_path, other, "b.csv"))
    assert list(labels(catalog).values()) == ["Lynx fictus", "Vulpes ficta", "Invenia alba"]


def test_plain_numbers_are_ids_of_one_collection_only_if_it_shares_an_image(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    first = source_of(tmp_path, [{"image": "1.png", **LYNX, "occurrenceID": 7}], "a.csv")
    apart = source_of(tmp_path, [{"image": "2.png", **FOX, "occurrenceID": 7}], "b.csv")
    catalog, built = build(tmp_path, first, apart)
    assert (len(catalog), built.facts["merging"]["loose_occurrences"]) == (2, 1)
    rows = [{"image": f"{n}.png", **FOX, "occurrenceID": 7, "dateIdentified": "2020"} for n in (1, 2)]
    catalog, _ = build(tmp_path, first, source_of(tmp_path, rows, "b.csv"))
    assert set(labels(catalog).values()) == {"Vulpes ficta"}


# -- decisions alone -----------------------------------------------------------------------------------------------------

TAXA = [
    Taxon.of(("Animalia", "", "", "", "Fictidae", "Lynx", epithet)) for epithet in ("", "fictus", "alter")
] + [Taxon.of(("Animalia", "", "", "", "Fictidae"))]  # fmt: skip
CLAIMS = st.builds(
    Claim, row=st.integers(0, 50), source=st.integers(0, 3), preferred=st.just(9), standing=st.integers(0, 5), first=st.integers(0, 3),
    last=st.just(0), verdict=st.sampled_from((0, 0, 0, 1)), taxon=st.sampled_from(TAXA),
    box=st.sampled_from((None, LEFT, RIGHT, (0.01, 0.0, 0.5, 1.0), (0.4, 0.0, 0.4, 1.0))),
)  # fmt: skip


def settled(claims: Sequence[Claim]) -> list[Claim]:
    """Give claims what rows have: a number of their own, and the end of the time stated."""
    return [
        replace(one, row=row, last=one.first, verdict=one.verdict if one.standing > 2 else 0)
        for row, one in enumerate(claims)
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(CLAIMS, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_a_decision_depends_on_no_order_and_each_statement_has_one_subject(claims: list[Claim], random: Any) -> None:
    ordered = settled(claims)
    shuffled = random.sample(ordered, len(ordered))
    assert decide(shuffled) == decide(ordered)
    subjects = subjects_of(ordered)
    assert sorted(claim.row for subject in subjects for claim in subject.claims) == list(range(len(ordered)))

    def plain(found: Sequence[Any]) -> set[Any]:
        return {
            (frozenset(claim.row for claim in one.claims), one.winner and one.winner.row, one.box and one.box.row)
            for one in found
        }

    assert plain(subjects) == plain(subjects_of(shuffled))
    assert {frozenset(c.row for c in region) for region in regions_of(ordered)} == {
        frozenset(c.row for c in region) for region in regions_of(shuffled)
    }


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 3), st.sampled_from((LYNX, FOX, GENUS)), st.sampled_from(("", "2019", "2020-02"))), max_size=4),
        min_size=2, max_size=3,
    ),
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from((LYNX, "blank")), st.integers(0, 2)), max_size=3),
    st.permutations(range(4)),
)  # fmt: skip
def test_sources_in_any_order_give_the_same_labels_and_no_image_twice(
    tmp_path: Path, tables: list[list[Any]], said: list[Any], order: list[int]
) -> None:
    save(tmp_path, 0, 1, 2, 3)
    sources = [
        source_of(
            tmp_path,
            [{"image": f"{n}.png", **taxon, "dateIdentified": date} for n, taxon, date in rows],
            f"{place}.csv",
        )
        for place, rows in enumerate([[(0, LYNX, ""), *tables[0]], *tables[1:]])
    ]
    rows = [
        {"image": f"{n}.png", "at": NOON + timedelta(hours=hour), **({"verdict": what} if what == "blank" else what)}
        for n, what, hour in said
    ]
    sources.append(reviews(tmp_path, *rows))
    catalog, built = build(tmp_path, *sources, near_distance=0)
    uris = catalog.column("uri")
    assert len(set(uris)) == len(uris)
    assert built.facts["rows_read"] == len(catalog) + sum(built.facts["left_out"].values())
    assert len(listed(built.removed)) == sum(built.facts["left_out"].values())
    other, _ = build(tmp_path, *(sources[at] for at in order if at < len(sources)), near_distance=0, workers=1)
    assert labels(other) == labels(catalog)
    assert dict(zip(other.column("uri"), other.column("split"), strict=True)) == dict(
        zip(uris, catalog.column("split"), strict=True)
    )


def test_evidence_is_read_from_a_row_and_says_what_it_is() -> None:
    said = {
        "identification by R. Doe of 2020-02": {"dateidentified": "2020-02", "identifiedby": "R. Doe"},
        "identification of 2020": {"dateidentified": 2020},
        "identification of 2019-01-01/2020-12-31": {"dateidentified": "2019/2020"},
        "catalogue name": {"dateidentified": "s.d."},
        "review by Ann": {"evidence": "review", "identifiedby": "Ann", "sha256": "0a"},
        "catalogue name by Ann": {"evidence": "review", "identifiedby": "Ann"},
        "review by Ann of 2021-05-01T12:00:00Z": {"evidence": "review", "identifiedby": "Ann", "dateidentified": "2021-05-01T12:00:00Z"},
    }  # fmt: skip
    assert [str(evidence_of(cells)) for cells in said.values()] == list(said)
    assert str(evidence_of({}, is_folder=True)) == "folder name"
    assert str(reviewed(NOON, "Ann", of_event=True)) == "review of its event by Ann of 2021-05-01T12:00:00Z"
    assert reviewed(NOON, " - ").standing is Standing.NAMELESS_REVIEW
    assert Evidence(Standing.NAME).when == ""


def test_a_review_whose_name_cannot_be_used_takes_the_label_away_all_the_same(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    table = source_of(tmp_path, [{"image": f"{n}.png", **LYNX} for n in (1, 2)])
    catalog, built = build(tmp_path, table, reviews(tmp_path, {"image": "1.png", "scientificName": "Type of Lynx"}))
    assert catalog.column("uri") == ["2.png"]
    assert "a name that cannot be used" in listed(built.removed)[0]["reason"]
    assert built.facts["left_out"] == {"no taxon": 1, "withdrawn by a review": 1}


def test_a_dated_blank_in_a_table_takes_an_undated_name_away_and_an_undated_one_does_not(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    table = source_of(tmp_path, [{"image": f"{n}.png", **LYNX} for n in (1, 2)], "old.csv")
    checked = [
        {"image": "1.png", "scientificName": "blank", "reviewer": "Ann", "reviewedAt": "2021-05-01"},
        {"image": "2.png", "scientificName": "blank"},
    ]
    catalog, built = build(tmp_path, table, source_of(tmp_path, checked, "checked.csv"))
    assert catalog.column("uri") == ["2.png"]
    assert listed(built.merged)[0]["evidence"] == "identification by Ann of 2021-05-01"


def test_hundreds_of_names_that_cannot_be_used_are_no_limit(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    table = source_of(tmp_path, [{"image": f"{n}.png", **LYNX} for n in (1, 2)])
    said = [{"image": "1.png", "scientificName": f"Type {n}", "by": f"Ann {n}"} for n in range(300)]
    assert build(tmp_path, table, reviews(tmp_path, *said))[0].column("uri") == ["2.png"]


def test_thousands_of_boxes_and_images_of_one_occurrence_take_no_minutes(tmp_path: Path) -> None:
    grid = [(x / 50, y / 50, 0.019, 0.019) for x in range(50) for y in range(50)]
    boxes = [Claim(n, n % 2, 9, 1, 0, 0, 0, TAXA[1], box) for n, box in enumerate([*grid, *grid])]
    began = time.thread_time()
    assert len(regions_of(boxes)) == 2500
    assert time.thread_time() - began < 20


def test_rows_of_other_parts_of_the_draft_give_their_labels_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large catalog is written and traced in parts; here each holds two rows."""
    save(tmp_path, *range(7))
    table = source_of(tmp_path, [{"image": f"{n}.png", **LYNX, "license": f"licence {n}"} for n in range(7)])
    store = reviews(
        tmp_path, *({"image": f"{n}.png", **FOX} for n in (6, 0, 3)), {"image": "5.png", "verdict": "blank"}
    )
    whole, built = build(tmp_path, table, store)
    lists = [listed(built.merged), listed(built.removed), listed(built.duplicates)]
    monkeypatch.setattr(writing, "_ROWS_PER_PART", 2)
    for room in (tracing, pairs):
        monkeypatch.setattr(room, "_TOGETHER", 1)
    parts, built = build(tmp_path, table, store)
    assert parts.table.to_pylist() == whole.table.to_pylist()
    assert [listed(built.merged), listed(built.removed), listed(built.duplicates)] == lists
    assert [parts.taxon(row).genus for row in range(6)] == ["Vulpes", "Lynx", "Lynx", "Vulpes", "Lynx", "Vulpes"]


def test_duplicates_that_are_kept_on_both_sides_have_one_label(tmp_path: Path) -> None:
    save(tmp_path, 1)
    rows = [{"image": "1.png", **LYNX, "split": split} for split in ("train", "val", "train")]
    store = reviews(tmp_path, {"image": "1.png", **FOX})
    catalog, _ = build(tmp_path, source_of(tmp_path, rows), store, keep_duplicates=True)
    assert list(zip(catalog.column("split"), [catalog.taxon(row).genus for row in range(2)], strict=True)) == [
        ("train", "Vulpes"), ("val", "Vulpes"),
    ]  # fmt: skip
