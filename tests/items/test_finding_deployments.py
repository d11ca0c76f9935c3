"""The one answer to "which deployment does this image belong to?"."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.errors import DataError, UsageError
from bioclip_core.findings import Findings
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.finding_deployments import Deployments
from bioclip_plugin.items.media import MediaItem, Place
from bioclip_plugin.rules.sequences import Sequences, SequenceSettings

NOON = datetime(2024, 6, 1, 12)
COLUMNS = "deploymentID,latitude,longitude,deploymentStart,deploymentEnd"


def item(uri: str, serial: str = "", at: datetime | None = NOON, **changes: object) -> MediaItem:
    metadata = {"camera_serial_number": serial} if serial else {}
    return replace(MediaItem(uri, captured_at=at, metadata=metadata), **changes)  # type: ignore[arg-type]


def finder(
    items: Sequence[MediaItem], sources: Sequence[str] = (), *, table: Path | None = None, pattern: str | None = None
) -> Deployments:
    return Deployments(lambda: items, sources, DeploymentOptions(table, pattern))


def names(found: Deployments, items: Sequence[MediaItem]) -> list[tuple[str, str]]:
    return [(member.deployment, member.known_by) for member in map(found.of, items)]


def written(folder: Path, *lines: str, header: str = COLUMNS) -> Path:
    path = folder / "cameras.csv"
    path.write_text("\n".join((header, *lines)) + "\n", "utf-8")
    return path


def reported(found: Deployments, zone: str | None = None) -> list[str]:
    findings = Findings()
    found.survey(findings, zone)
    return list(findings.lines())


# -- the order of the answers ------------------------------------------------------------------------------------------


def test_a_stated_deployment_is_followed_by_the_table_then_the_pattern_then_camera_and_folder(tmp_path: Path) -> None:
    table = written(tmp_path, "Site_001,51,4,,")
    items = [
        item("s/Site_001/100MEDIA/a.jpg", deployment="stated"),
        item("s/Site_001/100MEDIA/b.jpg"),
        item("s/x-Site_7/c.jpg"),
        item("s/two/d.jpg", "A"),
        item("s/two/e.jpg", "B"),
        item("s/two/f.mp4"),
        item("s/DCIM/g.jpg", "A"),
    ]
    found = finder(items, ["s"], table=table, pattern=r"x-(?P<deployment>\w+)")
    assert names(found, items) == [
        ("stated", "column"), ("Site_001", "table"), ("Site_7", "pattern"), ("two (A)", "camera"), ("two (B)", "camera"),
        ("two", "folder"), ("s", "folder"),
    ]  # fmt: skip
    assert any("files without a serial number" in line and "s/two/f.mp4" in line for line in reported(found))


def test_folders_that_a_camera_makes_are_no_boundary() -> None:
    folders = ["DCIM/100EK113", "DCIM/101EK113", "100_BTCF", "102NIKON", "dcim/100recnx", "DCIM", "."]
    items = [item(f"s/cam1/{folder}/a.jpg") for folder in folders] + [item("s/101Creek/a.jpg")]
    found = finder(items, ["s"])
    assert [name for name, _ in names(found, items)] == ["cam1"] * len(folders) + ["101Creek"]


def test_a_file_without_a_serial_number_joins_the_only_camera_of_its_folder() -> None:
    items = [item("s/a/DCIM/100MEDIA/a.jpg", "H1"), item("s/a/DCIM/101MEDIA/b.mp4"), item("s/b/c.jpg", "H1")]
    found = finder(items, ["s"])
    groups = [found.of(one).group for one in items]
    assert groups == [("s/a", "H1"), ("s/a", "H1"), ("s/b", "H1")]  # one serial number for all cameras of a maker


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("C:\\survey\\Site_001\\100MEDIA\\a.jpg", "C:/survey/Site_001"),
        ("file:///data/Site%20001/a.jpg", "/data/Site 001"),
        ("photos.zip#Site_001/a.jpg", "photos.zip/Site_001"),
        ("pack.zip/media/a.jpg", "pack.zip/media"),
        ("shards/part-0001.tar#Site_001/a.jpg", "shards/Site_001"),
        ("cam#1/a.jpg", "cam#1"),
        ("north: Site_1/a.jpg", "north: Site_1"),
        ("./x/../Site_001/a.jpg", "Site_001"),
        ("https://example.org/Site_001/a.jpg?size=1/2", "https://example.org/Site_001"),
    ],
)
def test_every_kind_of_uri_has_its_folder(uri: str, folder: str) -> None:
    items = [item(uri), item("elsewhere/b.jpg")]
    assert finder(items).of(items[0]).group == (folder, "")


def test_an_image_in_memory_is_of_a_table_or_of_no_deployment(tmp_path: Path) -> None:
    items = [item("memory:1"), item("memory:2", deployment="d")]
    found = finder(items)
    assert [found.of(one).group for one in items] == [(), ("d", "")]
    assert found.completed(items[0]).deployment is None


def test_a_web_address_is_no_deployment_but_may_be_called_like_one(tmp_path: Path) -> None:
    items = [item("https://example.org/iiif/17/full/max/0/default.jpg"), item("https://example.org/Site_001/a.jpg")]
    found = finder(items, table=written(tmp_path, "Site_001,51,4,,", "Site_002,51,4,,"))
    assert names(found, items) == [("", ""), ("Site_001", "table")]


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_nearest_folder_that_names_a_row_counts_whatever_its_case_and_unicode_form(tmp_path: Path) -> None:
    table = written(tmp_path, "north,51,4,,", "Été,52,4,,", "east/cam1,53,4,,", "west/cam1,54,4,,")
    uris = ["s/north/a.jpg", "s/north/E\N{COMBINING ACUTE ACCENT}TE\N{COMBINING ACUTE ACCENT}/x/b.jpg", "s/west/cam1/c.jpg", "s/east/cam1/DCIM/100EK113/d.jpg", "s/cam1/e.jpg"]  # fmt: skip # noqa: E501
    items = [item(uri) for uri in uris]
    found = finder(items, ["s"], table=table)
    assert [name for name, _ in names(found, items)] == ["north", "Été", "west/cam1", "east/cam1", "cam1"]
    assert any(
        "no folder above them is called like a deployment: 1 (the first: s/cam1/e.jpg)" in line
        for line in reported(found)
    )


def test_rows_of_one_place_are_told_apart_by_their_dates(tmp_path: Path) -> None:
    table = written(
        tmp_path,
        "spring,Site_1,51,4,2024-03-01,2024-05-31",
        "summer,Site_1,51,4,2024-06-01,2024-08-31",
        header="deploymentID,locationName,latitude,longitude,deploymentStart,deploymentEnd",
    )
    at = [datetime(2024, 5, 31, 23), NOON, datetime(2025, 1, 1), None]
    items = [item(f"s/Site_1/{n}.jpg", at=moment) for n, moment in enumerate(at)] + [
        item("s/x.jpg", deployment="Site_1")
    ]
    found = finder(items, ["s"], table=table)
    assert [name for name, _ in names(found, items)] == ["spring", "summer", "Site_1", "Site_1", "summer"]
    lines = "\n".join(reported(found))
    assert (
        "taken outside the dates of the rows for their folder and belong to none of them: 1 (the first: s/Site_1/2.jpg)"
        in lines
    )
    assert "images without a time fit several rows" in lines


def test_rows_of_one_name_get_their_first_day_and_are_refused_if_their_dates_overlap(tmp_path: Path) -> None:
    table = written(tmp_path, "S,51,4,2024-03-01,2024-06-01", "S,51,4,2024-06-01,2024-08-31")
    items = [item("s/S/a.jpg", at=datetime(2024, 4, 1)), item("s/S/b.jpg", at=datetime(2024, 7, 1))]
    assert [name for name, _ in names(finder(items, ["s"], table=table), items)] == ["S 2024-03-01", "S 2024-06-01"]
    table = written(tmp_path, "S,51,4,2024-03-01,2024-06-05", "S,51,4,2024-06-01,2024-08-31")
    with pytest.raises(DataError, match=r"cameras\.csv, line 3: duplicate deploymentID 'S' \(line 2\)"):
        finder([], table=table)


def test_images_and_rows_that_do_not_fit_are_counted_with_the_first_example(tmp_path: Path) -> None:
    table = written(tmp_path, "A,51,4,2024-01-01,2024-02-01", "B,51,4,,", "C,51,4,,")
    found = finder([item("s/A/a.jpg"), item("s/Z/b.jpg"), item("c.jpg", deployment="Q")], ["s"], table=table)
    lines = "\n".join(reported(found))
    assert "rows of the table of deployments" in lines
    assert "are without images: 2 (the first: line 3: B)" in lines
    assert "called like a deployment: 1 (the first: s/Z/b.jpg)" in lines
    assert "images are of deployments that the table" in lines
    assert (
        "images were taken outside the dates of their deployment: 1 (the first: s/A/a.jpg: 2024-06-01T12:00:00, A, line 2)"
        in lines
    )


def test_a_row_gives_place_time_zone_and_correction(tmp_path: Path) -> None:
    header = "deployment_id,decimalLatitude,decimalLongitude,timeZone,Clock Shift"
    table = written(tmp_path, "A,51,4,Europe/Brussels,-1 year", "B,,,,", header=header)
    taken = item("s/A/a.jpg", at=datetime(2025, 6, 1, 12), place=Place(month=6))
    items = [taken, item("s/A/b.jpg", place=Place(latitude=1, longitude=2)), item("s/B/c.jpg")]
    found = finder(items, ["s"], table=table)
    first, second, third = map(found.completed, items)
    assert first.captured_at is not None
    assert first.captured_at.isoformat() == "2024-06-01T12:00:00+02:00"
    assert (first.deployment, first.place.latitude, first.place.longitude, first.place.month) == ("A", 51, 4, 6)
    assert (second.place.latitude, second.place.longitude) == (1, 2)
    assert (third.captured_at, third.place.latitude) == (NOON, None)
    assert any(
        "times were corrected by the clock_shift of their deployment: 2 (the first: s/A/a.jpg" in one
        for one in reported(found)
    )


def test_a_table_may_be_a_workbook_or_of_another_encoding_with_dates_and_degrees_as_people_write_them(
    tmp_path: Path,
) -> None:
    text = "Station;Latitude;Longitude;Setup_date;Retrieval_date\nForêt;50,8503;4° 21' E;31/05/2024;02/06/2024\n"
    (tmp_path / "cameras.csv").write_bytes(text.encode("cp1252"))
    items = [item("s/Forêt/a.jpg")]
    table = finder(items, table=tmp_path / "cameras.csv").table
    assert table is not None
    (row,) = table.rows
    assert (row.name, row.latitude, row.longitude) == ("Forêt", 50.8503, 4.35)
    assert (row.starts, row.ends) == (datetime(2024, 5, 31), datetime(2024, 6, 2, 23, 59, 59))
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["deploymentID", "latitude", "longitude", "deploymentStart", "clock_shift"])
    book.active.append([7, 50.5, 4, datetime(2024, 5, 31), timedelta(days=1, hours=1)])
    book.save(tmp_path / "cameras.xlsx")
    table = finder([item("s/7/a.jpg")], table=tmp_path / "cameras.xlsx").table
    assert table is not None
    (row,) = table.rows
    assert (row.name, row.latitude, row.starts) == ("7", 50.5, datetime(2024, 5, 31))
    assert row.shift is not None
    assert row.shift.seconds == 90_000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("A,91,4,,,,", "latitude '91': must be 90 or less"),
        ("A,51,west,,,,", "longitude 'west': must be a number"),
        ("A,51,4,June,,,", "deploymentStart 'June': must be a date and time"),
        ("A,51,4,2024-05-01,2024-04-01,,", "is before deploymentStart"),
        ("A,51,4,,,Mars/Olympus,", "time zone 'Mars/Olympus' is not known"),
        ("A,51,4,,,,soon", "clock shift 'soon' is not known"),
        (",51,4,,,,", "deploymentID '': the cell is required"),
        (
            "A,51,4,03/04/2024,,,",
            "deploymentStart or deploymentEnd is '03/04/2024', which has the day or the month first.*write dates as 2024-05-31",
        ),
    ],
)
def test_a_bad_cell_is_refused_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(DataError, match=rf"cameras\.csv, line 2: .*{words}"):
        finder([], table=written(tmp_path, line, header=f"{COLUMNS},timeZone,clock_shift"))


def test_local_times_that_do_not_exist_or_occur_twice_are_reported_with_advice() -> None:
    items = [
        item("s/a.jpg", at=datetime(2024, 3, 31, 2, 30)),
        item("s/b.jpg", at=datetime(2024, 10, 27, 2, 30)),
        item("s/c.jpg"),
    ]
    lines = reported(finder(items), "Europe/Brussels")
    assert len(lines) == 2
    assert lines[0].startswith("local times do not exist in Europe/Brussels")
    assert lines[1].startswith("local times occur twice in Europe/Brussels")
    assert all("such as +01:00" in line for line in lines)
    assert not reported(finder(items), "+01:00")


def test_a_shift_is_added_to_the_wall_clock_before_the_zone_of_the_run_counts(tmp_path: Path) -> None:
    table = written(tmp_path, "A,+182 days", "B,+1:00:00", "C,", header="deploymentID,clock_shift")
    winter, spring = timezone(timedelta(hours=1)), datetime(2024, 3, 31, 2, 30, 1)
    items = [
        item("s/A/a.jpg", at=datetime(2024, 1, 1, 0, 10, tzinfo=winter)),  # as the run stored them
        item("s/B/b.jpg", at=spring.replace(tzinfo=winter)),
        item("s/A/own.jpg", at=datetime(2024, 1, 1, 0, 10, tzinfo=timezone(timedelta(hours=3)))),
        item("s/A/v.mp4", at=datetime(2024, 1, 1, 0, 10, tzinfo=UTC), metadata={"video_seconds": 0.0}),
    ]
    for zone in ("Europe/Brussels", "Europe/London"):
        found = Deployments(lambda: items, (), DeploymentOptions(table), assumed=zone)
        times = [
            completed.captured_at.isoformat() for completed in map(found.completed, items) if completed.captured_at
        ]
        summer = "+02:00" if zone == "Europe/Brussels" else "+01:00"
        assert times[0] == f"2024-07-01T00:10:00{summer}"
        assert times[1] == ("2024-03-31T03:30:01+02:00" if zone == "Europe/Brussels" else "2024-03-31T03:30:01+01:00")
        assert times[2:] == ["2024-07-01T00:10:00+03:00", "2024-07-01T00:10:00+00:00"]


def test_a_local_time_is_doubted_as_corrected_where_a_shift_is_known(tmp_path: Path) -> None:
    table = written(tmp_path, "B,+1:00:00", "C,", header="deploymentID,clock_shift")
    moment = datetime(2024, 3, 31, 2, 30, 1, tzinfo=timezone(timedelta(hours=1)))
    for folder, doubted in (("B", False), ("C", True)):
        findings, items = Findings(), [item(f"s/{folder}/a.jpg", at=moment)]
        Deployments(lambda items=items: items, (), DeploymentOptions(table), assumed="Europe/Brussels").survey(findings)  # type: ignore[misc]
        assert any("do not exist" in line for line in findings.lines()) is doubted


def test_videos_in_utc_beside_images_without_an_offset_are_reported() -> None:
    video = item("s/v.mp4", at=NOON.replace(tzinfo=UTC), metadata={"video_seconds": 0.0})
    lines = reported(finder([item("s/a.jpg"), video, item("t/v.mp4", at=video.captured_at, metadata=video.metadata)]))
    assert len(lines) == 1
    assert "classify with --video-clock local: 1 (the first: s/v.mp4, beside s/a.jpg)" in lines[0]


def test_videos_in_utc_are_reported_too_if_the_run_gave_a_time_zone_to_the_images() -> None:
    image = item("s/a.jpg", at=NOON.replace(tzinfo=timezone(timedelta(hours=2))))
    video = item("s/v.mp4", at=NOON.replace(tzinfo=UTC), metadata={"video_seconds": 0.0})
    for assumed, count in ((None, 0), ("Europe/Brussels", 1), ("Africa/Nairobi", 0)):
        findings = Findings()
        Deployments(lambda: [image, video], assumed=assumed).survey(findings)
        assert len(list(findings.lines())) == count


# -- the pattern -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("folder:1", ["north", "north", "south"]),
        ("folder:2", ["cam1", "cam2", "cam1"]),
        ("folder:-1", ["cam1", "cam2", "cam1"]),
        ("folder:-2", ["north", "north", "south"]),
        (r"^([^/]+/[^/]+)/", ["north/cam1", "north/cam2", "south/cam1"]),
        (r"(?i)(x)?.*/(?P<deployment>CAM\d)/", ["cam1", "cam2", "cam1"]),
    ],
)
def test_a_pattern_takes_the_name_out_of_the_path(pattern: str, expected: list[str]) -> None:
    items = [item(f"s/{path}/DCIM/100MEDIA/a.jpg") for path in ("north/cam1", "north/cam2", "south/cam1")]
    assert [name for name, _ in names(finder(items, ["s/"], pattern=pattern), items)] == expected


def test_folders_are_counted_from_the_one_that_holds_all_addresses() -> None:
    items = [item("s/Site_1/100MEDIA/a.jpg"), item("s/Site_2/100MEDIA/b.jpg")]
    assert [name for name, _ in names(finder(items, ["s/Site_1", "s/Site_2"], pattern="folder:1"), items)] == [
        "Site_1",
        "Site_2",
    ]
    table = finder(items[:1], ["s/table.csv"], pattern="folder:1")
    assert table.of(items[0]).deployment == "Site_1"


def test_a_path_without_the_pattern_is_reported() -> None:
    found = finder([item("s/a.jpg"), item("s/x/b.jpg")], ["s"], pattern="folder:1")
    assert "images have a path without a deployment according to --deployment-from: 1 (the first: s/a.jpg)" in reported(
        found
    )


@pytest.mark.parametrize(
    ("pattern", "words"), [("folder:0", "counted from 1"), ("site", "names no part"), ("(", "not a regular expression")]
)
def test_a_pattern_that_cannot_be_used_is_refused_with_examples(pattern: str, words: str) -> None:
    with pytest.raises(UsageError, match=rf"{words}.*give folder:1"):
        DeploymentOptions(deployment_from=pattern)


# -- properties --------------------------------------------------------------------------------------------------------

PLACES = st.lists(st.sampled_from(["north", "south", "cam1", "cam 2", "été"]), min_size=0, max_size=3).map(tuple)
CAMERA_FOLDERS = st.lists(
    st.sampled_from(["DCIM", "100MEDIA", "101MEDIA", "100EK113", "dcim", "100_btcf"]), max_size=2
).map(tuple)


@st.composite
def bursts(draw: st.DrawFn) -> list[tuple[tuple[str, ...], tuple[str, ...], int]]:
    """Return places, the cameras' own folders in them, and seconds."""
    return draw(st.lists(st.tuples(PLACES, CAMERA_FOLDERS, st.integers(0, 300)), min_size=1, max_size=12))


def events(items: Sequence[MediaItem]) -> list[list[int]]:
    """Return the events of images as lists of their positions, whatever the order in which they are listed."""
    found, rule = Deployments(lambda: items, ["s"]), Sequences(SequenceSettings())
    keys = [(rule.event_key(found.completed(one)), n) for n, one in enumerate(items)]
    by_group: dict[str, list[tuple[float, int]]] = {}
    for key, n in keys:
        assert key is not None
        by_group.setdefault(key.group, []).append((key.at_s or 0.0, n))
    together = []
    for members in by_group.values():
        members.sort()
        event = [members[0]]
        for last, member in pairwise(members):
            if member[0] - last[0] > 60:
                together.append(sorted(n for _, n in event))
                event = []
            event.append(member)
        together.append(sorted(n for _, n in event))
    return sorted(together)


def photos(
    given: Sequence[tuple[tuple[str, ...], tuple[str, ...], int]], shift: timedelta = timedelta()
) -> list[MediaItem]:
    return [
        item("/".join(("s", *place, *camera, f"{n}.jpg")), at=NOON + timedelta(seconds=seconds) + shift)
        for n, (place, camera, seconds) in enumerate(given)
    ]


@given(bursts(), st.sampled_from(["102NIKON", "DCIM", "999ABCDE"]))
@settings(max_examples=60, deadline=None)
def test_events_do_not_depend_on_the_names_of_the_cameras_own_folders(
    given: list[tuple[tuple[str, ...], tuple[str, ...], int]], other: str
) -> None:
    renamed = [(place, (other,) * len(camera), seconds) for place, camera, seconds in given]
    assert events(photos(given)) == events(photos(renamed))


@given(bursts(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_events_do_not_depend_on_the_order_of_the_files(
    given: list[tuple[tuple[str, ...], tuple[str, ...], int]], chance: random.Random
) -> None:
    items = photos(given)
    order = list(range(len(items)))
    chance.shuffle(order)
    shuffled = [sorted(order[n] for n in event) for event in events([items[n] for n in order])]
    assert sorted(shuffled) == events(items)


@given(bursts(), st.integers(-10_000, 10_000))
@settings(max_examples=60, deadline=None)
def test_events_do_not_depend_on_a_shift_of_all_clocks(
    given: list[tuple[tuple[str, ...], tuple[str, ...], int]], hours: int
) -> None:
    assert events(photos(given, timedelta(hours=hours))) == events(photos(given))


@given(bursts())
@settings(max_examples=60, deadline=None)
def test_images_of_two_places_are_never_in_one_deployment(
    given: list[tuple[tuple[str, ...], tuple[str, ...], int]],
) -> None:
    items = photos(given)
    found = Deployments(lambda: items, ["s"])
    places: dict[str, set[tuple[str, ...]]] = {}
    for one, (place, _, _) in zip(items, given, strict=True):
        places.setdefault(found.of(one).deployment, set()).add(place)
    assert all(len(of_one) == 1 for of_one in places.values())


def test_places_that_are_called_like_folders_of_cameras_are_reported_and_can_be_named(tmp_path: Path) -> None:
    assert not reported(finder([item("s/a.jpg"), item("s/100MEDIA/b.jpg"), item("s/101MEDIA/c.jpg")], ["s"]))
    items = [item("s/101CREEK/a.jpg"), item("s/102RIVER/b.jpg")]
    (line,) = reported(finder(items, ["s"]))
    assert "taken for one camera" in line
    assert "1 (the first: s/102RIVER in s)" in line
    table = written(tmp_path, "101creek,51,4,,", "102River,51,4,,")
    assert [name for name, _ in names(finder(items, ["s"], table=table), items)] == ["101creek", "102River"]
    assert [name for name, _ in names(finder(items, ["s"], pattern="([^/]+)/"), items)] == ["101CREEK", "102RIVER"]


def test_the_folder_of_an_image_without_a_time_is_not_given_as_its_deployment() -> None:
    items = [item("north/a.jpg"), item("south/b.jpg"), item("cabinet/sheet.jpg", at=None)]
    found = finder(items)
    assert [found.completed(one).deployment for one in items] == ["north", "south", None]
