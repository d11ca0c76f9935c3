"""``review``: every row of a file is imported, already stored, without a review, or refused with its reason."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command_samples import Bioclip

from bioclip_plugin.store import Review, Store

COLUMNS = ("uri", "verdict", "scientificName", "reviewer", "reviewedAt", "comment", "count")


def table(name: str, *rows: tuple[object, ...], columns: tuple[str, ...] = COLUMNS) -> str:
    with Path(name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return name


def reviews(store: str) -> list[Review]:
    with Store.open(store, create=False) as opened:
        return list(opened.reviews())


def names(store: str) -> list[tuple[str | None, str]]:
    return [
        (review.target.uri, review.taxon.scientific_name if review.taxon else review.verdict)
        for review in reviews(store)
    ]


def test_rows_are_imported_with_the_lineage_of_the_label_set(bioclip: Bioclip, classified: str) -> None:
    rows = [
        ("photos/red.png", "", "Red fictus", "Ann", "2031-05-06T12:00:00+02:00", "clear", "2"),
        ("photos/green.png", "blank", "", "Ann", "2031-05-06T12:01:00+02:00", "", ""),
        ("photos/blue.png", "", "azure invention", "Bo", "2031-05-06T12:02:00+02:00", "", ""),
    ]
    done = bioclip("review", "import", table("r.csv", *rows), "--store", classified)
    assert (done.code, done.out) == (0, "3 rows (table): 3 imported, 0 already there, 0 without a review, 0 refused\n")
    red, green, blue = reviews(classified)
    assert red.taxon is not None
    assert (red.taxon.kingdom, red.taxon.family, red.taxon.genus, red.taxon.species) == (
        "Fictia", "Warmidae", "Red", "fictus",
    )  # fmt: skip
    assert (red.reviewer, red.comment, dict(red.details)) == ("Ann", "clear", {"count": "2"})
    assert red.reviewed_at.isoformat() == "2031-05-06T10:00:00+00:00"
    assert (green.verdict, green.taxon) == ("blank", None)
    assert blue.taxon is not None
    assert (blue.taxon.scientific_name, blue.details["verbatimName"]) == ("Blue pictus", "azure invention")


def test_importing_twice_stores_once_and_says_so(bioclip: Bioclip, classified: str) -> None:
    file = table("r.csv", ("photos/red.png", "", "Red fictus", "Ann"), ("photos/green.png", "blank", "", "Ann"))
    bioclip("review", "import", file, "--store", classified)
    again = bioclip("review", "import", file, "--store", classified)
    assert (again.code, len(reviews(classified))) == (0, 2)
    assert "2 rows (table): 0 imported, 2 already there" in again.out


def test_every_row_that_cannot_be_taken_is_listed_with_its_reason(bioclip: Bioclip, classified: str) -> None:
    columns = ("uri", "verdict", "species", "reviewer", "reviewedAt", "bboxX", "bboxY", "bboxWidth", "bboxHeight")
    file = table(
        "r.csv",
        ("photos/red.png", "", "Red fictus", "Ann"),
        ("photos/nowhere.png", "", "Red fictus", "Ann"),
        ("photos/red.png", "", "Red fox", "Ann"),
        ("photos/red.png", "perhaps", "", "Ann"),
        ("photos/red.png", "blank", "Red fictus", "Ann"),
        ("photos/red.png", "taxon", "", "Ann"),
        ("photos/red.png", "", "Red fictus", ""),
        ("photos/red.png", "", "Red fictus", "Ann", "yesterday"),
        ("photos/red.png", "", "Red fictus", "Ann", "", "0.5", "0.5", "0.9", "0.1"),
        ("photos/red.png", "", "Red fictus", "Ann", "", "0.5", "0.5", "nan", "0.1"),
        ("", "blank", "", "Ann"),
        ("photos/red.png", "", "", "Ann"),
        ("photos/red.png", "", "none", "Ann"),
        columns=columns,
    )
    done = bioclip("review", "import", file, "--store", classified, "--rejected", "rejected.csv")
    assert done.code == 3
    assert "13 rows (table): 1 imported, 0 already there, 1 without a review, 11 refused" in done.out
    with Path("rejected.csv").open(encoding="utf-8", newline="") as text:
        rejected = {row["record"]: row["reason"] for row in csv.DictReader(text)}
    expected = {
        "row 2": "the store has no 'photos/nowhere.png'; --base-folder",
        "row 3": "'Red fox' is neither in the label set nor in the store",
        "row 4": "'perhaps' is not one of taxon, blank",
        "row 5": "says blank and names 'Red fictus'",
        "row 6": "needs a name",
        "row 7": "--reviewer NAME",
        "row 8": "cannot be read as a date",
        "row 9": "within 0 to 1",
        "row 10": "within 0 to 1",
        "row 11": "neither an image nor an event",
        "row 13": "write blank or unidentifiable",
    }
    assert rejected.keys() == expected.keys()
    assert [record for record, reason in expected.items() if reason not in rejected[record]] == []
    assert "  1 x image not in the store" in done.out


def test_an_export_with_reviews_filled_in_is_imported_without_the_models_own_columns(
    bioclip: Bioclip, classified: str
) -> None:
    bioclip("export", "--store", classified, "--output", "results.csv")
    with Path("results.csv").open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    untouched = bioclip("review", "import", "results.csv", "--store", classified)
    assert "4 rows (table): 0 imported, 0 already there, 4 without a review, 0 refused" in untouched.out
    rows[0] |= {"review_scientific_name": "Green fictus", "reviewer": "Ann", "reviewed_at": "2031-05-06T12:00:00Z"}
    rows[1] |= {"review_verdict": "person", "reviewer": "Ann", "review_comment": "=me"}
    with Path("filled.csv").open("w", encoding="utf-8", newline="") as text:
        table_ = csv.DictWriter(text, rows[0])
        table_.writeheader()
        table_.writerows(rows)
    done = bioclip("review", "import", "filled.csv", "--store", classified)
    assert "2 imported, 0 already there, 2 without a review" in done.out
    assert names(classified) == [(rows[0]["uri"], "Green fictus"), (rows[1]["uri"], "person")]
    bioclip("export", "--store", classified, "--output", "again.csv")
    with Path("again.csv").open(encoding="utf-8", newline="") as text:
        exported = list(csv.DictReader(text))
    assert exported[0]["scientific_name"] == rows[0]["scientific_name"]
    assert exported[0]["review_scientific_name"] == "Green fictus"
    assert exported[1]["review_comment"] == "'=me"
    unchanged = bioclip("review", "import", "again.csv", "--store", classified)
    assert "0 imported, 2 already there" in unchanged.out


def test_a_timelapse_table_is_found_by_its_columns(bioclip: Bioclip, classified: str) -> None:
    columns = ("File", "RelativePath", "DateTime", "DeleteFlag", "Species", "Count", "Analyst", "Note3")
    file = table(
        "ImageData.csv",
        ("red.png", "photos", "2031-05-06 12:00:00", "false", "Red fictus", "1", "Cy", "a"),
        ("green.png", "photos", "2031-05-06 12:00:00", "false", "Empty", "", "Cy", ""),
        ("blue.png", "photos", "2031-05-06 12:00:00", "false", "", "", "", ""),
        ("gone.png", "cam\\2", "2031-05-06 12:00:00", "false", "Empty", "", "Cy", ""),
        columns=columns,
    )
    done = bioclip("review", "import", file, "--store", classified)
    assert done.code == 3
    assert "4 rows (Timelapse table): 2 imported, 0 already there, 1 without a review, 1 refused" in done.out
    assert "cam/2/gone.png" in done.out
    assert names(classified) == [("photos/red.png", "Red fictus"), ("photos/green.png", "blank")]
    assert dict(reviews(classified)[0].details) == {"count": "1", "Note3": "a"}


def test_a_timelapse_table_may_be_what_excel_saves_as_unicode_text(bioclip: Bioclip, classified: str) -> None:
    rows = [
        "File\tRelativePath\tDateTime\tDeleteFlag\tSpecies1\tSpecies2\tEmpty",
        "red.png\tphotos\t\tfalse\tRed fictus\tBlue pictus\tfalse",
        "blue.png\tphotos\t\tfalse\t\t\ttrue",
    ]
    Path("t.txt").write_text("\n".join(rows), "utf-16")
    done = bioclip("review", "import", "t.txt", "--store", classified, "--reviewer", "Cy")
    assert "3 rows (Timelapse table): 3 imported" in done.out
    assert names(classified) == [
        ("photos/red.png", "Red fictus"), ("photos/red.png", "Blue pictus"), ("photos/blue.png", "blank"),
    ]  # fmt: skip


def test_a_projects_own_species_column_is_named_by_option(bioclip: Bioclip, classified: str) -> None:
    columns = ("File", "RelativePath", "DateTime", "DeleteFlag", "Tenon_Soort")
    file = table("t.csv", ("red.png", "", "2031-05-06 12:00:00", "false", "Red fictus"), columns=columns)
    refused = bioclip("review", "import", file, "--store", classified)
    assert refused.code == 1
    assert "Tenon_Soort" in refused.err
    assert "--name-column" in refused.err
    given = ("--name-column", "Tenon_Soort", "--base-folder", "photos", "--reviewer", "Cy")
    assert bioclip("review", "import", file, "--store", classified, *given).code == 0
    assert names(classified) == [("photos/red.png", "Red fictus")]


def test_images_are_found_below_a_base_folder_however_the_run_listed_them(
    bioclip: Bioclip, labels: str, photos: Path
) -> None:
    bioclip("classify", str(photos.resolve()), "--model", "fake", "--labels", labels, "--store", "absolute.db")
    file = table("r.csv", ("red.png", "blank", "", "Ann"))
    done = bioclip("review", "import", file, "--store", "absolute.db", "--base-folder", "photos")
    assert done.code == 0, done.out
    assert names("absolute.db") == [(str(photos.resolve() / "red.png"), "blank")]


def test_a_box_that_the_store_knows_keeps_its_detector(bioclip: Bioclip, labels: str, photos: Path) -> None:
    listing = table(
        "boxes.csv", ("photos/red.png", "0.1", "0.2", "0.3", "0.4"),
        columns=("uri", "bboxX", "bboxY", "bboxWidth", "bboxHeight"),
    )  # fmt: skip
    bioclip("classify", listing, "--model", "fake", "--labels", labels, "--store", "boxes.db")
    columns = ("uri", "bbox", "verdict", "reviewer")
    rows = [
        ("photos/red.png", "[0.1, 0.2, 0.3, 0.4]", "person", "Ann"),
        ("photos/red.png", "0 0 0.1 0.1", "blank", "Ann"),
    ]
    done = bioclip("review", "import", table("r.csv", *rows, columns=columns), "--store", "boxes.db")
    assert done.code == 0, done.out
    assert [review.target.kind for review in reviews("boxes.db")] == ["region", "region"]
    assert reviews("boxes.db")[0].target.region is not None
    with Store.open("boxes.db") as opened:
        assert len(opened.regions_of([("photos/red.png", 0)])["photos/red.png", 0]) == 2


def test_names_are_resolved_through_a_taxonomy(bioclip: Bioclip, classified: str) -> None:
    Path("list.csv").write_text(
        "taxonID,scientificName,taxonRank,taxonomicStatus,acceptedNameUsageID,parentNameUsageID,kingdom,family,genus\n"
        "1,Red fictus,species,accepted,,,Fictia,Warmidae,Red\n"
        "2,Rufus vetus,species,synonym,1,,Fictia,Warmidae,Rufus\n"
    )
    bioclip("taxonomy", "build", "list.csv", "--output", "l.taxonomy", "--checklist", "ours", "--version", "1")
    file = table(
        "r.csv", ("photos/red.png", "", "Rufus vetus", "Ann"), columns=("uri", "verdict", "species", "reviewer")
    )
    assert bioclip("review", "import", file, "--store", classified).code == 3
    assert bioclip("review", "import", file, "--store", classified, "--taxonomy", "l.taxonomy").code == 0
    (review,) = reviews(classified)
    assert review.taxon is not None
    assert (review.taxon.scientific_name, review.details["verbatimName"]) == ("Red fictus", "Rufus vetus")


def test_an_unknown_scientific_name_is_kept_as_written(bioclip: Bioclip, classified: str) -> None:
    file = table("r.csv", ("photos/red.png", "", "Vulpes vulpes (Linnaeus, 1758)", "Ann"))
    assert bioclip("review", "import", file, "--store", classified).code == 0
    assert names(classified) == [("photos/red.png", "Vulpes vulpes")]


def test_reviews_of_events_need_an_event_that_the_store_has(bioclip: Bioclip, labels: str, photos: Path) -> None:
    listing = table("list.csv", ("photos/red.png", "night 3"), columns=("uri", "sequence"))
    bioclip("classify", listing, "--model", "fake", "--labels", labels, "--store", "events.db")
    columns = ("uri", "event", "verdict", "reviewer")
    file = table("r.csv", ("", "night 3", "blank", "Ann"), ("", "night 4", "blank", "Ann"), columns=columns)
    done = bioclip("review", "import", file, "--store", "events.db")
    assert (done.code, [review.target.event for review in reviews("events.db")]) == (3, ["night 3"])
    assert "no image of the store has the event 'night 4'" in done.out


def test_the_summary_can_be_had_as_json(bioclip: Bioclip, classified: str) -> None:
    done = bioclip(
        "review", "import", table("r.csv", ("photos/red.png", "blank", "", "")), "--store", classified, "--json"
    )
    assert (done.code, json.loads(done.out)) == (
        3,
        {"kind": "table", "rows": 1, "imported": 0, "already_there": 0, "without_review": 0, "refused": 1,
         "refused_by_reason": {"no reviewer": 1}},
    )  # fmt: skip


def test_a_file_that_is_not_there_is_named(bioclip: Bioclip, classified: str) -> None:
    refused = bioclip("review", "import", "nowhere.csv", "--store", classified)
    assert refused.code == 1
    assert "nowhere.csv" in refused.err


def test_the_list_shows_the_reviews(bioclip: Bioclip, classified: str) -> None:
    file = table(
        "r.csv", ("photos/red.png", "", "Red fictus", "Ann"), ("photos/green.png", "not in label set", "", "Bo\n")
    )
    bioclip("review", "import", file, "--store", classified)
    lines = bioclip("review", "list", "--store", classified).out.splitlines()
    assert [line.split("\t")[1:5:2] for line in lines[1:]] == [
        ["photos/red.png", "Red fictus"],
        ["photos/green.png", "not in label set"],
    ]
    newest = bioclip("review", "list", "--store", classified, "--json", "--limit", "1").out
    assert json.loads(newest)["verdict"] == "not_in_label_set"
    assert bioclip("review", "list", "--store", classified, "--reviewer", "Ann", "--json").out.count("\n") == 1


def test_an_empty_store_says_how_to_begin(bioclip: Bioclip, classified: str) -> None:
    assert "review import FILE" in bioclip("review", "list", "--store", classified).out


def test_the_statistics_compare_a_run_with_its_reviews(bioclip: Bioclip, classified: str) -> None:
    rows = [
        ("photos/red.png", "", "Red fictus", "Ann"),
        ("photos/green.png", "", "Blue pictus", "Ann"),
        ("photos/blue.png", "blank", "", "Ann"),
    ]
    bioclip("review", "import", table("r.csv", *rows), "--store", classified)
    told = json.loads(bioclip("review", "stats", "--store", classified, "--json").out)
    assert (told["reviewed"], told["totals"]["agree"]["share"], told["totals"]["agree"]["n"]) == (3, 0.5, 2)
    agree = told["totals"]["agree"]
    assert (agree["groups"], agree["ci95"]) == (2, pytest.approx([0.0126, 0.9874], abs=1e-4)), "1 of 2, exactly"
    assert {row["name"]: (row["n"], row["agree"]) for row in told["taxa"]} == {
        "Red fictus": (1, 1),
        "Blue pictus": (1, 0),
    }
    assert {"reviewed": "Blue pictus", "decided": "Green fictus", "n": 1} in told["confusions"]
    said = bioclip("review", "stats", "--store", classified, "--output", "stats.csv")
    assert said.code == 0
    assert "3 reviewed images or boxes, 2 with a taxon" in said.out
    assert "decided to be the taxon or below it\t50.0%\t1.3% to 98.7%\t2\t2" in said.out


def test_reviews_of_a_single_image_have_no_interval(bioclip: Bioclip, classified: str) -> None:
    bioclip("review", "import", table("r.csv", ("photos/red.png", "", "Red fictus", "Ann")), "--store", classified)
    told = json.loads(bioclip("review", "stats", "--store", classified, "--json").out)["totals"]["agree"]
    assert (told["share"], told["n"], told["groups"], told["ci95"]) == (1.0, 1, 1, [None, None])
    said = bioclip("review", "stats", "--store", classified)
    assert "decided to be the taxon or below it\t100.0%\t1 event: none\t1\t1" in said.out


def test_the_statistics_can_be_written_as_a_table(bioclip: Bioclip, classified: str) -> None:
    rows = [
        ("photos/red.png", "", "Red fictus", "Ann"),
        ("photos/green.png", "", "Blue pictus", "Ann"),
        ("photos/blue.png", "blank", "", "Ann"),
    ]
    bioclip("review", "import", table("r.csv", *rows), "--store", classified)
    assert bioclip("review", "stats", "--store", classified, "--output", "stats.csv").code == 0
    with Path("stats.csv").open(encoding="utf-8", newline="") as text:
        assert [row["name"] for row in csv.DictReader(text)] == ["Blue pictus", "Red fictus", "blank"]


def test_without_reviews_the_statistics_give_advice(bioclip: Bioclip, classified: str) -> None:
    assert "review import FILE" in bioclip("review", "stats", "--store", classified).out


def test_undated_rows_of_one_file_are_of_one_moment(bioclip: Bioclip, classified: str) -> None:
    """None is newer than the others: two people who differ are two opinions, not a correction."""
    rows = [("photos/red.png", "", "Red fictus", "Ann"), ("photos/red.png", "", "Blue pictus", "Bo")]
    bioclip("review", "import", table("r.csv", *rows), "--store", classified)
    first, second = reviews(classified)
    assert first.reviewed_at == second.reviewed_at
    built = bioclip("catalog", "build", classified, "--val", 0, "--output", "c.parquet")
    assert "none of 2 rows can be used (2 undecided)" in built.err
    bioclip("review", "import", table("r.csv", ("photos/red.png", "", "Red fictus", "Bo")), "--store", classified)
    assert bioclip("catalog", "build", classified, "--val", 0, "--output", "c.parquet").code == 0
