"""Values that a file states: read where they are certain, else counted with their row, kept, and not replaced."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_core.cells import dated_of, is_unknown, position_of
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.read import MegaDetectorSource
from bioclip_plugin.formats.shared.stated_values import StatedValues, fields_in
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.items import strange_times
from bioclip_plugin.items.media import MediaItem, Place, Unlisted
from bioclip_plugin.labelled.sources import table_items
from bioclip_training.catalog.rows import LabelledItem


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(strange_times, "today", lambda: date(2026, 6, 1))


def read(findings: Findings | None = None, **cells: Any) -> MediaItem:
    """Return the item of one row."""
    options = ListingOptions(findings=Findings() if findings is None else findings)
    values = StatedValues("t.csv", options, lambda name: [("row 1", cells.get(name))])
    return MediaItem("a.jpg", **values.item_fields(dict(cells), fields_in(cells), "row 1"))


def reported(**cells: Any) -> list[str]:
    """Return the findings about one row."""
    read(findings := Findings(), **cells)
    return list(findings.lines())


def listed(text: str, **options: Any) -> tuple[list[MediaItem | Unlisted], list[str]]:
    """Return the items of a CSV file and its findings."""
    Path("t.csv").write_text(text, "utf-8")
    findings = Findings()
    items = list(TableSource().items("t.csv", ListingOptions(findings=findings, **options)))
    return items, list(findings.lines())


# -- times -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["[1901]", "s.d.", "1893-13-45", "0000:00:00 00:00:00", "1893-00-00"])
def test_a_date_that_cannot_be_read_is_reported_and_kept_and_closes_the_field(cell: str) -> None:
    item = read(eventDate=cell)
    assert (item.captured_at, item.place, item.unread) == (None, Place(), {"captured_at"})
    assert item.metadata == {"eventDate": cell}
    (line,) = reported(eventDate=cell)
    assert line.startswith("values of eventDate cannot be read as a date; they are kept in the metadata")
    assert line.endswith(f": 1 (the first: t.csv, row 1: {cell!r})")


@pytest.mark.parametrize(
    ("cell", "within", "month"),
    [("12.V.1893", (date(1893, 5, 12), date(1893, 5, 12)), 5), ("März 1922", (date(1922, 3, 1), date(1922, 3, 31)), 3),
     ("1901", (date(1901, 1, 1), date(1901, 12, 31)), None), ("1893-05-12/14", (date(1893, 5, 12), date(1893, 5, 14)), 5)],
)  # fmt: skip
def test_a_day_a_month_or_a_year_is_no_moment_and_admits_only_what_lies_within(
    cell: str, within: tuple[date, date], month: int | None
) -> None:
    item = read(eventDate=cell)
    assert (item.captured_at, item.within, item.place.month, item.unread) == (None, within, month, frozenset())
    assert reported(eventDate=cell) == []
    assert item.metadata == {"eventDate": cell}
    assert item.admits(datetime.combine(within[1], datetime.max.time()))
    assert not item.admits(datetime(2019, 4, 11, 20, 43))


def test_a_moment_in_iso_8601_leaves_the_metadata_and_one_in_another_form_stays_as_written() -> None:
    assert read(timestamp="2024-06-01 22:00:00").metadata == {}
    item = read(timestamp="31/12/2024 3:10:05 PM")
    assert (item.captured_at, item.metadata) == (
        datetime(2024, 12, 31, 15, 10, 5),
        {"timestamp": "31/12/2024 3:10:05 PM"},
    )


@pytest.mark.parametrize("day", ["eventDate", "date"])
@pytest.mark.parametrize("clock", ["eventTime", "Time"])
def test_a_time_in_a_column_of_its_own_completes_the_day(day: str, clock: str) -> None:
    assert read(**{day: "31.12.2024", clock: "3:10:05 PM"}).captured_at == datetime(2024, 12, 31, 15, 10, 5)
    bad = {day: "31.12.2024", clock: "afternoon"}
    assert read(**bad).unread == {"captured_at"}
    assert reported(**bad)[0].startswith(f"values of {clock} cannot be read as a time of day")


@pytest.mark.parametrize("name", ["date", "Date", "DATE"])
def test_a_column_called_date_alone_is_the_time_of_capture(name: str) -> None:
    (item, *_), findings = listed(f"image;{name}\na.jpg;2024-05-03 10:00:00\n")
    assert (item.captured_at, findings) == (datetime(2024, 5, 3, 10), [])
    day = read(**{name: "2024-05-03"})
    assert (day.captured_at, day.within, day.metadata) == (
        None,
        (date(2024, 5, 3), date(2024, 5, 3)),
        {name: "2024-05-03"},
    )
    assert listed(f"image;{name}\na.jpg;03/04/2024 10:00\n", day_first=True)[0][0].captured_at == datetime(
        2024, 4, 3, 10
    )
    with pytest.raises(SourceError, match="--day-first"):
        listed(f"image;{name}\na.jpg;03/04/2024 10:00\n")


def test_a_column_called_date_is_not_the_time_of_capture_beside_another_column_of_it() -> None:
    item = read(eventDate="2024-05-03", date="2024-06-01 10:00:00")
    assert (item.captured_at, item.within) == (None, (date(2024, 5, 3), date(2024, 5, 3)))
    assert read(timestamp="", date="03/04/2024").within is None
    assert read(Date="03-May-2024", Time="10:00:00").captured_at == datetime(2024, 5, 3, 10)


def test_year_month_and_day_of_darwin_core_close_the_field_for_the_scanner_of_a_sheet() -> None:
    item = read(year="1893", month="5", day="")
    assert (item.within, item.place.month) == ((date(1893, 5, 1), date(1893, 5, 31)), 5)
    assert not item.admits(datetime(2019, 5, 3))
    assert read(verbatimEventDate="12.V.1893").within == (date(1893, 5, 12), date(1893, 5, 12))
    assert reported(verbatimEventDate="im Frühjahr 1893") == []
    assert read(verbatimEventDate="im Frühjahr 1893").unread == {"captured_at"}


@pytest.mark.parametrize("cell", ["", "NA", "null", "-", None])
def test_an_unknown_value_is_absent(cell: object) -> None:
    cells = dict.fromkeys(("eventDate", "decimalLatitude", "decimalLongitude", "deploymentID", "stateProvince"), cell)
    item = read(**cells)
    assert (item.unread, item.within, item.deployment, item.place) == (frozenset(), None, None, Place())
    assert reported(**cells) == []


def test_the_day_alone_of_a_year_of_two_digits_gives_the_month_and_is_reported() -> None:
    item = read(eventDate="13.05.93")
    assert (item.place.month, item.within, item.unread) == (5, None, {"captured_at"})
    assert reported(eventDate="13.05.93")[0].startswith("years of two digits in eventDate are not certain")


def test_the_whole_table_decides_the_order_or_the_user_is_asked() -> None:
    rows = "image,timestamp\na.jpg,03/04/2024 10:00\nb.jpg,05/06/2024 10:00\n"
    with pytest.raises(
        SourceError, match=r"t.csv, row 1: timestamp is '03/04/2024 10:00'.* --day-first or --month-first"
    ):
        listed(rows)
    for text, options in ((rows + "c.jpg,31/12/2024 10:00\n", {}), (rows, {"day_first": True})):
        (first, *_), lines = listed(text, **options)
        assert isinstance(first, MediaItem)
        assert (first.captured_at, lines) == (datetime(2024, 4, 3, 10), [])


def test_strange_times_of_cameras_are_reported_and_kept() -> None:
    assert read(timestamp="2000-01-01 00:00:00", deployment="A").captured_at == datetime(2000, 1, 1)
    assert reported(timestamp="2000-01-01 00:00:00", deployment="A") == []
    (before,) = reported(timestamp="1970-01-01 00:00:00", deployment="A")
    assert before.startswith("times of cameras are before 1990; they are kept as they are")
    assert before.endswith("(the first: t.csv, row 1: 1970-01-01 00:00:00)")
    assert reported(timestamp="1970-01-01 00:00:00") == [before]
    assert reported(eventDate="1893-05-12T10:00:00") == []  # a specimen may be older than cameras
    assert len(reported(eventDate="1893-05-12T10:00:00", deploymentID="A")) == 1
    (ahead,) = reported(timestamp="2027-01-01 00:00:00")
    assert ahead.startswith("times are in the future")
    assert reported(timestamp="2026-06-01 23:59:59") == []


# -- places ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [("50,8503", "4,3517"), ("50.8503 N", "4° 21' 6.12\" E"), ("50°51'1.08\"N", 4.3517)])
def test_coordinates_are_read_however_they_are_written(pair: tuple[object, object]) -> None:
    item = read(decimalLatitude=pair[0], decimalLongitude=pair[1])
    assert (item.place.latitude, item.place.longitude) == (pytest.approx(50.8503), pytest.approx(4.3517))
    assert item.unread == frozenset()
    kept = {
        name for name, cell in zip(("decimalLatitude", "decimalLongitude"), pair, strict=True) if isinstance(cell, str)
    }
    assert item.metadata.keys() == kept


@pytest.mark.parametrize(
    ("north", "east", "why"),
    [("0", "0", "are 0, 0, which stands for an unknown place"),
     ("120.5", "50", "are outside 90 and 180 degrees (are the columns exchanged?)"),
     ("50.85", "", "have only one of latitude and longitude"), ("50.85", "4.35 O", "cannot be read"), ("1.234,5", "4", "cannot be read")],
)  # fmt: skip
def test_a_position_that_cannot_be_used_is_reported_with_the_reason(north: str, east: str, why: str) -> None:
    cells = {"decimalLatitude": north, "decimalLongitude": east}
    item = read(**cells)
    assert (item.place, item.unread, item.metadata) == (Place(), {"position"}, cells)
    (line,) = reported(**cells)
    assert line.startswith(f"positions (decimalLatitude, decimalLongitude) {why}; they are kept in the metadata")
    assert line.endswith(f"(the first: t.csv, row 1: {north!r}, {east!r})")


def test_verbatim_coordinates_are_read_if_there_are_no_others_and_nothing_is_wrong_with_them() -> None:
    item = read(decimalLatitude="", decimalLongitude="", verbatimCoordinates="14d 49m S/70d 1m W")
    assert item.place.latitude == pytest.approx(-14.81666667)
    utm = {"verbatimCoordinates": "31U 594934 5633542"}
    assert (read(**utm).unread, reported(**utm)) == ({"position"}, [])
    assert reported(coordinates="31U 594934 5633542")[0].startswith(
        "values of coordinates cannot be read as a position"
    )


def test_countries_are_codes_and_names_in_a_column_of_codes_are_reported() -> None:
    item = read(country="Deutschland", countryCode="de")
    assert item.place.country == "DE"
    assert item.metadata["country"] == "Deutschland"
    assert reported(country="Deutschland") == []
    (line,) = reported(country="Deutschland", countryCode="Deutschland")
    assert line.startswith("values of countryCode are not codes of ISO 3166-1")
    assert read(countryCode="Deutschland").unread == {"country"}
    assert (read(countryCode="UK").place.country, read(countryCode="UK").metadata) == ("GB", {"countryCode": "UK"})


def test_na_is_namibia_only_where_another_column_says_so() -> None:
    assert read(countryCode="NA", country="Namibia").place.country == "NA"
    item = read(countryCode="NA", country="NA")
    assert (item.place.country, item.unread) == (None, {"country"})
    assert "the code of Namibia and the mark of an unknown value" in reported(countryCode="NA")[0]


# -- other formats -----------------------------------------------------------------------------------------------------


def entries(*images: dict[str, Any], **options: Any) -> tuple[list[MediaItem | Unlisted], list[str]]:
    """Return the items of a MegaDetector file and its findings."""
    head = {"info": {"format_version": "1.4"}, "detection_categories": {"1": "animal"}}
    listed_images = [{"file": f"{place}.jpg", "detections": [], **one} for place, one in enumerate(images)]
    Path("md.json").write_text(json.dumps({**head, "images": listed_images}), "utf-8")
    findings = Findings()
    items = list(MegaDetectorSource().items("md.json", ListingOptions(findings=findings, **options)))
    return items, list(findings.lines())


def test_times_of_megadetector_are_read_reported_and_asked_about_in_the_same_way() -> None:
    (bad, none, good), lines = entries(
        {"datetime": "0000:00:00 00:00:00"},
        {"datetime": None, "exif_metadata": {"DateTimeOriginal": "2024:06:01 22:00:00"}},
        {"datetime": "2024-06-01 22:00:00 UTC"},
    )
    assert isinstance(bad, MediaItem)
    assert isinstance(none, MediaItem)
    assert isinstance(good, MediaItem)
    assert (bad.captured_at, bad.unread, bad.metadata) == (None, {"captured_at"}, {"datetime": "0000:00:00 00:00:00"})
    assert none.captured_at == datetime(2024, 6, 1, 22)
    assert good.captured_at is not None
    assert len(lines) == 1
    assert "(the first: md.json, images[0] '0.jpg': '0000:00:00 00:00:00')" in lines[0]
    with pytest.raises(SourceError, match=r"md.json, images\[1\] '1.jpg': datetime is '01/06/2024 22:00'"):
        entries({}, {"datetime": "01/06/2024 22:00"})
    (_, open_one), _ = entries({}, {"datetime": "01/06/2024 22:00"}, day_first=True)
    assert isinstance(open_one, MediaItem)
    assert open_one.captured_at == datetime(2024, 6, 1, 22)


@pytest.mark.parametrize(("conf", "read_as"), [("0,93", 0.93), ("93%", 0.93), ("0.5", 0.5)])
def test_a_confidence_in_text_is_read_where_it_is_certain(conf: str, read_as: float) -> None:
    box = {"category": "1", "bbox": ["0,1", "0.1", 0.5, 0.5]}
    (item,), _ = entries({"detections": [{**box, "conf": conf}]})
    assert isinstance(item, MediaItem)
    assert (item.regions[0].confidence, item.regions[0].x) == (read_as, 0.1)
    for bad in (">0.9", 1.7, -0.1, None, "high"):
        (refused,), _ = entries({"detections": [{**box, "conf": bad}]})
        assert isinstance(refused, Unlisted)
        assert "must be a number from 0 to 1" in refused.reason


# -- any table ---------------------------------------------------------------------------------------------------------

_CELLS = st.one_of(
    st.sampled_from(
        ["", "NA", "2024-06-01 22:00:00", "31/12/2024", "[1901]", "s.d.", "50,85", "4° 21' E", "1893-13-45", "0", "-"]
    ),
    st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters='",|;\t'), max_size=12),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_CELLS, _CELLS, _CELLS)
def test_a_cell_is_absent_read_or_counted_and_kept_with_its_field_closed(when: str, north: str, east: str) -> None:
    findings = Findings()
    cells = {"eventDate": when, "decimalLatitude": north, "decimalLongitude": east}
    try:
        item = read(findings, **cells)
    except SourceError:
        return  # asked about
    lines = list(findings.lines())
    dated = dated_of(when)
    if is_unknown(when) or (dated is not None and not dated.has_short_year):
        assert "captured_at" not in item.unread
    else:
        assert "captured_at" in item.unread
        assert item.metadata["eventDate"] == when
        assert any("eventDate" in line for line in lines)
    place = position_of(north, east)
    assert (item.place.latitude, item.place.longitude) == place
    is_absent = is_unknown(north) and is_unknown(east)
    assert ("position" in item.unread) == (place == (None, None) and not is_absent)
    if "position" in item.unread:
        assert (item.metadata["decimalLatitude"], item.metadata["decimalLongitude"]) == (north, east)
        assert any(line.startswith("positions") for line in lines)


def test_a_catalog_asks_about_no_date_and_keeps_its_cell() -> None:
    Path("t.csv").write_text("image,scientificName,eventDate\na.jpg,Acer fictum,03/04/2024\n", "utf-8")
    (item,) = table_items("t.csv", "t", ListingOptions())
    assert isinstance(item, LabelledItem)
    assert item.cells["eventDate"] == "03/04/2024"
