"""EXIF as fields of a media item: the order of date tags, places, cameras, sequences, and unusable values."""

from __future__ import annotations

import io
import logging
import os
import random
import struct
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from time import thread_time
from typing import Any

import pytest
from PIL import Image

from bioclip_plugin.items.media import MediaItem, Place
from bioclip_plugin.items.metadata import CameraMetadata, read_metadata, with_metadata

# Tags of Exif 2.32 by their standard names.
MAKE, MODEL, DATE_TIME, EXIF_IFD, GPS_IFD = 0x010F, 0x0110, 0x0132, 0x8769, 0x8825
ORIGINAL, DIGITIZED, OFFSET, OFFSET_ORIGINAL, FRACTION_ORIGINAL = 0x9003, 0x9004, 0x9010, 0x9011, 0x9291
SERIAL, MAKER_NOTE = 0xA431, 0x927C
NORTH_OR_SOUTH, LATITUDE, EAST_OR_WEST, LONGITUDE = 1, 2, 3, 4


def jpeg(
    first: dict[int, Any] | None = None, exif: dict[int, Any] | None = None, gps: dict[int, Any] | None = None
) -> bytes:
    """Return a JPEG with these tags in its first, EXIF and GPS directories."""
    block = Image.Exif()
    block.update(first or {})
    block.get_ifd(EXIF_IFD).update(exif or {})
    block.get_ifd(GPS_IFD).update(gps or {})
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=block)
    return stream.getvalue()


def position(
    latitude: tuple[float, ...], ns: str, longitude: tuple[float, ...], ew: str
) -> tuple[float | None, float | None]:
    tags = {NORTH_OR_SOUTH: ns, LATITUDE: latitude, EAST_OR_WEST: ew, LONGITUDE: longitude}
    found = read_metadata(jpeg(gps={tag: value for tag, value in tags.items() if value}))
    return found.latitude, found.longitude


# -- dates -------------------------------------------------------------------------------------------------------------


def test_the_moment_of_exposure_comes_before_digitization_and_the_last_change() -> None:
    change, original, digitized = "2003:03:03 03:03:03", "2001:01:01 01:01:01", "2002:02:02 02:02:02"
    all_three = jpeg({DATE_TIME: change}, {ORIGINAL: original, DIGITIZED: digitized})
    assert read_metadata(all_three).captured_at == datetime(2001, 1, 1, 1, 1, 1)
    assert read_metadata(jpeg({DATE_TIME: change}, {DIGITIZED: digitized})).captured_at == datetime(2002, 2, 2, 2, 2, 2)
    assert read_metadata(jpeg({DATE_TIME: change})).captured_at == datetime(2003, 3, 3, 3, 3, 3)


@pytest.mark.parametrize(
    "blank", ["0000:00:00 00:00:00", "    :  :     :  :  ", "2021:13:01 00:00:00", "", "yesterday"]
)
def test_a_blank_or_impossible_date_gives_way_to_the_next(blank: str) -> None:
    found = read_metadata(jpeg({DATE_TIME: "2003:03:03 03:03:03"}, {ORIGINAL: blank}))
    assert found.captured_at == datetime(2003, 3, 3, 3, 3, 3)
    assert read_metadata(jpeg({DATE_TIME: blank})).captured_at is None


def test_a_date_with_its_own_offset_is_aware_and_one_without_is_not() -> None:
    aware = read_metadata(jpeg(exif={ORIGINAL: "2021:04:11 20:43:09", OFFSET_ORIGINAL: "-03:30"})).captured_at
    assert aware == datetime(2021, 4, 11, 20, 43, 9, tzinfo=timezone(-timedelta(hours=3, minutes=30)))
    zulu = read_metadata(jpeg(exif={ORIGINAL: "2021:04:11 20:43:09", OFFSET_ORIGINAL: "Z"})).captured_at
    assert zulu == datetime(2021, 4, 11, 20, 43, 9, tzinfo=UTC)
    # OffsetTime describes the last change, which may have been made at a desk in another zone.
    naive = read_metadata(jpeg(exif={ORIGINAL: "2021:04:11 20:43:09", OFFSET: "+02:00"})).captured_at
    assert naive == datetime(2021, 4, 11, 20, 43, 9)


@pytest.mark.parametrize("offset", ["+99:00", "   :  ", "summer"])
def test_an_offset_that_cannot_be_leaves_the_date_without_a_zone(offset: str) -> None:
    found = read_metadata(jpeg(exif={ORIGINAL: "2021:04:11 20:43:09", OFFSET_ORIGINAL: offset}))
    assert found.captured_at == datetime(2021, 4, 11, 20, 43, 9)


def test_fractions_of_a_second_are_digits_after_the_point() -> None:
    found = read_metadata(jpeg(exif={ORIGINAL: "2021:04:11 20:43:09", FRACTION_ORIGINAL: "07"}))
    assert found.captured_at == datetime(2021, 4, 11, 20, 43, 9, 70_000)


# -- places ------------------------------------------------------------------------------------------------------------


def test_degrees_minutes_and_seconds_become_degrees_with_a_sign() -> None:
    # 50° 30' 36" = 50 + 0.5 + 0.01; 4° 15' 0" = 4.25
    north, east = position((50, 30, 36), "N", (4, 15, 0), "E")
    south, west = position((50, 30, 36), "S", (4, 15, 0), "W")
    assert [north, south] == pytest.approx([50.51, -50.51])
    assert (east, west) == (4.25, -4.25)


@pytest.mark.parametrize(
    ("latitude", "ns", "longitude", "ew"),
    [((0, 0, 0), "N", (0, 0, 0), "E"), ((91, 0, 0), "N", (4, 0, 0), "E"), ((50, 0, 0), "", (4, 0, 0), "E")],
)
def test_no_fix_out_of_range_and_no_hemisphere_are_no_place(
    latitude: tuple[float, ...], ns: str, longitude: tuple[float, ...], ew: str
) -> None:
    assert position(latitude, ns, longitude, ew) == (None, None)


def test_the_equator_is_a_place() -> None:
    assert position((0, 0, 0), "N", (30, 0, 0), "E") == (0.0, 30.0)


# -- cameras -----------------------------------------------------------------------------------------------------------


def test_make_model_and_serial_number_are_read() -> None:
    found = read_metadata(jpeg({MAKE: "Acme ", MODEL: "Trail 3\x00junk"}, {SERIAL: "A-17"}))
    assert (found.camera_make, found.camera_model, found.camera_serial_number) == ("Acme", "Trail 3", "A-17")


def reconyx_words(*, celsius: int) -> bytes:
    """Return the words from the trigger mode on: image 2 of 5, event 65,536 + 7, 20:43:09 on 11 April 2021, full moon."""
    return struct.pack("<14Hh", ord("M"), 2, 5, 1, 7, 9, 43, 20, 4, 11, 2021, 1, 4, 14, celsius)


def hyperfire() -> bytes:
    return (
        b"\x01\xf1\x03\x00" + bytes(8) + reconyx_words(celsius=-10) + "H600AB01234567".encode("utf-16-le") + bytes(60)
    )


def hyperfire_2() -> bytes:
    start = b"RECONYXH2\x00".ljust(52, b"\x00") + reconyx_words(celsius=-10)
    return start.ljust(126, b"\x00") + "H600AB01234567".encode("utf-16-le") + bytes(60)


@pytest.mark.parametrize("note", [hyperfire(), hyperfire_2()])
def test_a_reconyx_maker_note_gives_the_place_in_the_burst_the_temperature_and_the_moon(note: bytes) -> None:
    found = read_metadata(jpeg({MAKE: "RECONYX"}, {MAKER_NOTE: note}))
    assert found == CameraMetadata(
        captured_at=datetime(2021, 4, 11, 20, 43, 9),
        camera_make="RECONYX",
        camera_serial_number="H600AB01234567",
        sequence_number=2,
        sequence_length=5,
        event_number=65_543,
        temperature_c=-10,
        moon_phase="full moon",
        capture_method="activityDetection",
    )


def test_a_reconyx_image_at_a_set_time_is_a_time_lapse_image() -> None:
    note = hyperfire().replace(struct.pack("<H", ord("M")), struct.pack("<H", ord("T")), 1)
    found = read_metadata(jpeg({MAKE: "RECONYX"}, {MAKER_NOTE: note}))
    assert found.capture_method == "timeLapse"


def test_a_maker_note_that_is_cut_short_leaves_the_rest_of_the_exif() -> None:
    found = read_metadata(jpeg({MAKE: "RECONYX", MODEL: "HC550"}, {MAKER_NOTE: hyperfire()[:20]}))
    assert (found.camera_model, found.sequence_number) == ("HC550", None)


# -- unusable values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00" + b"\xff" * 40, b"\x89PNG\r\n\x1a\n"]
)
def test_a_file_that_says_nothing_gives_nothing(data: bytes) -> None:
    assert read_metadata(data) == CameraMetadata()


def test_a_maker_note_of_four_thousand_million_values_costs_no_time_and_not_the_date() -> None:
    note = hyperfire()
    data = bytearray(jpeg(exif={ORIGINAL: "2021:04:11 20:43:09", MAKER_NOTE: note}))
    entry = data.index(struct.pack(">H", MAKER_NOTE))  # tag, type, count, offset
    assert struct.unpack_from(">I", data, entry + 4) == (len(note),)
    struct.pack_into(">I", data, entry + 4, 0xFFFF_FFF0)
    began = thread_time()
    found = read_metadata(bytes(data))
    assert thread_time() - began < 10  # it takes 0.05 s; without a limit it would take hours
    assert found.captured_at == datetime(2021, 4, 11, 20, 43, 9)


def test_damage_anywhere_is_never_an_error() -> None:
    data = jpeg({MAKE: "RECONYX"}, {ORIGINAL: "2021:04:11 20:43:09", MAKER_NOTE: hyperfire()}, {NORTH_OR_SOUTH: "N"})
    whole = read_metadata(data)
    chance = random.Random(0)
    found = []
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 5, 40))):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        found.append(read_metadata(bytes(damaged)))
    assert any(one != whole for one in found)
    assert all(isinstance(one, CameraMetadata) for one in found)


def test_nothing_is_printed_about_rubbish() -> None:
    program = (
        "from bioclip_plugin.items.metadata import read_metadata\n"
        "read_metadata(b'no image')\nread_metadata(b'\\xff\\xd8\\xff\\xe1\\x00\\x10Exif\\x00\\x00' + b'\\xff' * 40)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_host_that_uses_exifread_itself_still_hears_its_warnings(caplog: pytest.LogCaptureFixture) -> None:
    import exifread

    with caplog.at_level(logging.WARNING):
        read_metadata(b"no image")
        assert caplog.records == []
        exifread.process_file(io.BytesIO(b"no image"))
        assert len(caplog.records) == 1


# -- items -------------------------------------------------------------------------------------------------------------


def test_an_item_gets_the_metadata_of_its_camera() -> None:
    data = jpeg(
        {MAKE: "Acme"},
        {ORIGINAL: "2021:04:11 20:43:09", SERIAL: "17"},
        {NORTH_OR_SOUTH: "N", LATITUDE: (50, 30, 0), EAST_OR_WEST: "E", LONGITUDE: (4, 0, 0)},
    )
    item = with_metadata(MediaItem("a.jpg"), data)
    assert item.captured_at == datetime(2021, 4, 11, 20, 43, 9)
    assert item.place == Place(latitude=50.5, longitude=4.0, month=4)
    assert dict(item.metadata) == {"camera_make": "Acme", "camera_serial_number": "17"}


def test_metadata_of_the_source_win_over_the_camera() -> None:
    data = jpeg(
        {MAKE: "Acme"},
        {ORIGINAL: "2021:04:11 20:43:09"},
        {NORTH_OR_SOUTH: "N", LATITUDE: (50, 30, 0), EAST_OR_WEST: "E", LONGITUDE: (4, 0, 0)},
    )
    said = MediaItem(
        "a.jpg",
        captured_at=datetime(1999, 12, 31, 23, 0, tzinfo=UTC),
        place=Place(country="BE", latitude=1.0, longitude=2.0),
        metadata={"camera_make": "another", "note": "x"},
    )
    item = with_metadata(said, data)
    assert item.captured_at == datetime(1999, 12, 31, 23, 0, tzinfo=UTC)
    assert item.place == Place(country="BE", latitude=1.0, longitude=2.0, month=12)
    assert dict(item.metadata) == {"camera_make": "another", "note": "x"}


def test_the_camera_completes_a_day_of_the_source_and_never_replaces_what_it_states() -> None:
    data = jpeg(
        {MAKE: "Acme"},
        {ORIGINAL: "2021:04:11 20:43:09"},
        {NORTH_OR_SOUTH: "N", LATITUDE: (50, 30, 0), EAST_OR_WEST: "E", LONGITUDE: (4, 0, 0)},
    )
    day = date(2021, 4, 11)
    assert with_metadata(MediaItem("a.jpg", within=(day, day)), data).captured_at == datetime(2021, 4, 11, 20, 43, 9)
    other = with_metadata(MediaItem("a.jpg", within=(date(1893, 1, 1), date(1893, 12, 31))), data)
    assert (other.captured_at, other.place.month) == (None, None)
    unread = with_metadata(MediaItem("a.jpg", unread=frozenset({"captured_at", "position"})), data)
    assert (unread.captured_at, unread.place) == (None, Place())


@pytest.mark.shared_data
def test_a_real_burst_is_numbered_from_one_to_ten() -> None:
    folder = Path(os.environ["BIOCLIP_DATA"]) / "data" / "camtrap_dp_example" / "media"
    found = [read_metadata(path.read_bytes()) for path in sorted(folder.iterdir())]
    assert sorted((one.sequence_number, one.sequence_length) for one in found) == [(n, 10) for n in range(1, 11)]
    assert {(one.event_number, one.temperature_c, one.moon_phase) for one in found} == {(4, 2, "new moon")}
    assert {one.camera_serial_number for one in found} == {"H2RXEM06043616"}


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blank.jpg", (datetime(2016, 9, 25, 18, 35, 10), 5, 5, "H550HH12223408", 21)),
        ("domestic_dog.jpg", (datetime(2017, 7, 13, 12, 9, 23), 3, 3, "P800HI05233973", 22)),
        (
            "american_black_bear.jpg",
            (datetime(2010, 11, 6, 4, 4), 1, 3, "P800BD05003063", 1),
        ),  # only its maker note has a date
        ("african_elephants.jpg", (datetime(2010, 8, 4, 8, 43, 15), None, None, None, None)),
    ],
)
def test_real_trail_cameras_are_read(name: str, expected: tuple[object, ...]) -> None:
    found = read_metadata((Path(os.environ["BIOCLIP_DATA"]) / "data" / "camera_trap_samples" / name).read_bytes())
    assert expected == (
        found.captured_at, found.sequence_number, found.sequence_length, found.camera_serial_number, found.temperature_c,
    )  # fmt: skip


def test_thousands_of_texts_in_one_place_are_not_all_read() -> None:
    """Each would be copied and kept: gigabytes of a file of a megabyte."""
    text, count = b"x" * 1_000_000, 500
    place = 8 + 2 + 12 * count + 4
    entries = b"".join(struct.pack("<HHII", 40_000 + number, 2, len(text), place) for number in range(count))
    data = struct.pack("<2sHIH", b"II", 42, 8, count) + entries + bytes(4) + text
    assert read_metadata(data) == CameraMetadata()
