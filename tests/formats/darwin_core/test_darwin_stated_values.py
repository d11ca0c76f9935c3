"""Cells that Darwin Core cannot hold: each is kept verbatim and reported, and the archive is written and valid."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas
import pytest
from darwin_store import EXPORTER, FOX, answered, specimen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_core.files.whole import zip_folder
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.tables.write import CsvExporter
from bioclip_plugin.items.media import MediaItem, Place
from bioclip_plugin.store import ReviewTarget, Store

SHEET = {"institutionCode": "HB", "collectionCode": "Herb", "catalogNumber": "B 1"}
Row = dict[str, str]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


def archive(store: Store, folder: Path, *items: MediaItem, **options: Any) -> tuple[list[Row], list[str]]:
    """Return the occurrences of an export that its own check accepts, and what it reported."""
    run = answered(store, [(item, [(None, FOX, 0.9)]) for item in items])
    return written(Export(store, run, ExportOptions(**options)), folder)


def written(export: Export, folder: Path) -> tuple[list[Row], list[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    EXPORTER.write(folder, export)
    assert [one for one in EXPORTER.check(folder, export.options) if one.severity == "error"] == []
    return table(folder / "occurrence.txt"), list(export.findings.lines())


def table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{name: cell for name, cell in row.items() if cell} for row in rows]


@pytest.mark.parametrize(
    ("given_date", "date", "reported"),
    [
        ("[1901]", None, True), ("s.d.", None, True), ("1893-13-45", None, True), ("c. 1890", None, True),
        ("June 24", None, True), ("1999-03-XX", None, True), ("2009-04-00", "2009-04", False), ("1893-00-00", "1893", False),
        ("12.05.1893", "1893-05-12", False), ("12.V.1893", "1893-05-12", False), ("03/04/1893", "1893", False),
        ("1893-05", "1893-05", False), ("1893/1895", "1893/1895", False),
    ],
)  # fmt: skip
def test_a_date_is_as_exact_as_it_is_stated_and_kept_verbatim(
    store: Store, tmp_path: Path, given_date: str, date: str | None, reported: bool
) -> None:
    scanned = datetime(2024, 5, 6, 7, 8, 9)
    (row,), found = archive(
        store, tmp_path / "a", specimen("a.jpg", SHEET | {"eventDate": given_date}, captured_at=scanned)
    )
    assert row.get("eventDate") == date
    assert row.get("verbatimEventDate") == (None if given_date == date else given_date)
    assert bool(found) is reported
    if reported:
        assert found == [
            f"values of eventDate are not dates; they are in verbatimEventDate: 1 (the first: a.jpg: {given_date!r})"
        ]


@pytest.mark.parametrize(("month", "date"), [(4, "1893-04-03"), (3, "1893-03-04"), (None, "1893")])
def test_a_date_in_numbers_has_the_order_in_which_its_column_was_read(
    store: Store, tmp_path: Path, month: int | None, date: str
) -> None:
    item = specimen("a.jpg", SHEET | {"eventDate": "03/04/1893"}, place=Place(month=month))
    (row,), _ = archive(store, tmp_path / "a", item)
    assert (row["eventDate"], row["verbatimEventDate"]) == (date, "03/04/1893")


def test_words_in_the_place_of_codes_are_kept_as_words(store: Store, tmp_path: Path) -> None:
    stated = SHEET | {"countryCode": "Deutschland", "basisOfRecord": "Herbarbeleg"}
    (row,), found = archive(store, tmp_path / "a", specimen("a.jpg", stated))
    assert (row["country"], row["basisOfRecord"], row["occurrenceRemarks"]) == (
        "Deutschland", "Occurrence", "basisOfRecord: Herbarbeleg",
    )  # fmt: skip
    assert "countryCode" not in row
    assert len(found) == 2


@pytest.mark.parametrize(("country", "code"), [("BEL", "BE"), ("BE", "BE")])
def test_a_country_of_three_letters_is_written_with_two(store: Store, tmp_path: Path, country: str, code: str) -> None:
    (row,), found = archive(store, tmp_path / "a", specimen("a.jpg", SHEET, place=Place(country)))
    assert (row["countryCode"], found) == (code, [])


@pytest.mark.parametrize("given_basis", ["preserved specimen", "PRESERVED_SPECIMEN", "PreservedSpecimen"])
def test_a_basis_of_record_is_spelled_as_darwin_core_does(store: Store, tmp_path: Path, given_basis: str) -> None:
    (row,), _ = archive(store, tmp_path / "a", specimen("a.jpg", SHEET | {"basisOfRecord": given_basis}))
    assert row["basisOfRecord"] == "PreservedSpecimen"


def test_coordinates_that_are_not_usable_are_kept_verbatim(store: Store, tmp_path: Path) -> None:
    stated = SHEET | {"decimalLatitude": "50 N or so", "decimalLongitude": "4.3517", "verbatimCoordinates": "31U DS 1"}
    (row,), found = archive(store, tmp_path / "a", specimen("a.jpg", stated))
    assert (row["verbatimLatitude"], row["verbatimLongitude"], row["verbatimCoordinates"]) == (
        "50 N or so",
        "4.3517",
        "31U DS 1",
    )
    assert "decimalLatitude" not in row
    assert "'50 N or so, 4.3517'" in found[0]


def test_verbatim_coordinates_never_undo_the_rounding_of_places(store: Store, tmp_path: Path) -> None:
    stated = SHEET | {"verbatimLatitude": "50.850312", "verbatimLongitude": "4.351712"}
    item = specimen("a.jpg", stated, place=Place(latitude=50.850312, longitude=4.351712))
    (row,), found = archive(store, tmp_path / "a", item, coordinate_precision=1)
    assert (row["decimalLatitude"], row["decimalLongitude"]) == ("50.9", "4.4")
    assert not any(name.startswith("verbatim") for name in row)
    assert "--coordinate-precision" in found[0]


def test_two_images_of_one_specimen_are_one_occurrence_and_their_differences_are_reported(
    store: Store, tmp_path: Path
) -> None:
    (row,), found = archive(
        store, tmp_path / "a",
        specimen("a.jpg", SHEET | {"eventDate": "1893", "basisOfRecord": "Herbarbeleg"}),
        specimen("b.jpg", SHEET | {"eventDate": "1894", "basisOfRecord": "PreservedSpecimen", "country": "Belgium"}, place=Place("BE")),
    )  # fmt: skip
    assert (row["eventDate"], row["basisOfRecord"], row["countryCode"], row["country"]) == (
        "1893",
        "PreservedSpecimen",
        "BE",
        "Belgium",
    )
    assert found[1:] == [
        "values of eventDate differ from those of an earlier image of the same specimen, which are written: 1 "
        "(the first: HB:Herb:B 1: '1893' in a.jpg, '1894' in b.jpg)"
    ]


def test_columns_are_found_however_the_collection_spells_them(store: Store, tmp_path: Path) -> None:
    stated = {"Institution Code": "HB", "catalog_number": "7", "EventDate": "1901"}
    (row,), _ = archive(store, tmp_path / "a", specimen("a.jpg", stated))
    assert (row["occurrenceID"], row["catalogNumber"], row["eventDate"]) == ("HB:7", "7", "1901")


def test_a_name_that_the_format_cannot_hold_leaves_out_its_row_only(store: Store, tmp_path: Path) -> None:
    run = answered(
        store, [(specimen(uri, SHEET | {"catalogNumber": uri}), [(None, FOX, 0.9)]) for uri in ("a.jpg", "b.jpg")]
    )
    doubtful = replace(FOX, species="cf. fictus")
    store.add_review(ReviewTarget("media", "a.jpg"), "taxon", doubtful, reviewer="Ann")
    _, found = written(Export(store, run), tmp_path / "a")
    assert len(table(tmp_path / "a" / "identification.txt")) == 2
    assert "identifications are left out: scientificName holds a qualifier" in found[0]
    assert "'Vulpes cf. fictus'" in found[0]


def test_specimens_without_an_identification_are_counted(store: Store, tmp_path: Path) -> None:
    run = answered(
        store, [(specimen(uri, SHEET | {"catalogNumber": uri}), [(None, None, 0.9)]) for uri in ("a.jpg", "b.jpg")]
    )
    rows, found = written(Export(store, run), tmp_path / "a")
    assert rows == []
    assert found == [
        "specimens and observations have no identification, and are skipped; provenance.json counts the reasons: 2 "
        "(the first: HB:Herb:a.jpg)"
    ]


def test_an_image_on_another_drive_is_written_without_an_address(store: Store, tmp_path: Path) -> None:
    archive(store, tmp_path / "a", specimen("/x/a.jpg"), specimen("D:\\scans\\b.jpg"))
    images = table(tmp_path / "a" / "multimedia.txt")
    assert len(images) == 2
    assert not any(image.get("accessURI", "").startswith(("/", "D:")) for image in images)


@pytest.mark.parametrize("name", ["~sheet.jpg", "C:sheet.jpg"])
def test_a_file_whose_name_looks_like_a_path_does_not_refuse_the_archive(
    store: Store, tmp_path: Path, name: str
) -> None:
    archive(store, tmp_path / "a", specimen(name), specimen("b.jpg"))


def test_the_table_of_a_run_joins_the_collections_own_table_on_its_catalogue_numbers(
    store: Store, tmp_path: Path
) -> None:
    numbers = ["B 10 0001", "B 10 0001", "B 10 0002", "0007", "12", "É-4"]
    own = pandas.DataFrame(
        {"catalogNumber": numbers, "image": [f"{n}.jpg" for n in range(len(numbers))], "shelf": list("abcdef")}
    )
    run = answered(
        store,
        [(specimen(row.image, {"catalogNumber": row.catalogNumber}), [(None, FOX, 0.9)]) for row in own.itertuples()],
    )  # fmt: skip
    CsvExporter().write(tmp_path / "out.csv", Export(store, run, ExportOptions(per="image")))
    results = pandas.read_csv(tmp_path / "out.csv", dtype=str)
    joined = own.merge(
        results.rename(columns={"File": "image"}), on=["catalogNumber", "image"], how="outer", indicator=True
    )
    assert list(joined["_merge"]) == ["both"] * len(numbers)
    assert set(joined["scientific_name"]) == {"Vulpes fictus"}


_CELL = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["[1901]", "s.d.", "1893-13-45", "50,8503", "91", "4° 21' E", "0", "nan", "DE", "de", "xx", "\ttab", "a\nb"]
    ),
)
_TERMS = (
    "eventDate", "verbatimEventDate", "decimalLatitude", "decimalLongitude", "countryCode", "country", "basisOfRecord",
    "institutionCode", "catalogNumber", "occurrenceID", "geodeticDatum", "stateProvince",
)  # fmt: skip


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(st.sampled_from(_TERMS), _CELL), min_size=5, max_size=12))
def test_no_cell_refuses_an_archive(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("archive")
    with Store.open(folder / "results.db") as store:
        archive(store, folder / "a", *(specimen(f"{number}.jpg", row) for number, row in enumerate(rows)))


def test_other_readers_read_what_is_kept_verbatim(store: Store, tmp_path: Path) -> None:
    from dwca.read import DwCAReader  # slow to import

    stated = SHEET | {"eventDate": "[1901]", "countryCode": "Deutschland", "basisOfRecord": "Herbarbeleg"}
    archive(store, tmp_path / "a", specimen("a.jpg", stated), specimen("b.jpg", SHEET | {"catalogNumber": "B 2"}))
    zip_folder(tmp_path / "a", tmp_path / "a.zip")
    with DwCAReader(str(tmp_path / "a.zip")) as reader:
        rows = [{name.rsplit("/", 1)[-1]: value for name, value in row.data.items() if value} for row in reader]
    assert [row["catalogNumber"] for row in rows] == ["B 1", "B 2"]
    assert (rows[0]["verbatimEventDate"], rows[0]["country"]) == ("[1901]", "Deutschland")
