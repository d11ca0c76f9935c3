"""Entries that are decoded by the thousand: the same items, messages and places as one by one, for whole and for damaged files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.errors import SourceError
from bioclip_core.files import streamed_json
from bioclip_core.files.streamed_json import AtOnce, Several, walk
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.plain import PlainImage, are_apart, in_range, well_formed
from bioclip_plugin.formats.megadetector.read import MegaDetectorSource

HEADER = {"detection_categories": {"1": "animal", "2": "person"}, "info": {"format_version": "1.4", "detector": "d"}}
BOX = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}


def text_of(images: list[Any], *, indent: int | None = 1, header_first: bool = False) -> str:
    whole = {**HEADER, "images": images} if header_first else {"images": images, **HEADER}
    return json.dumps(whole, indent=indent)


def plain(count: int) -> list[Any]:
    return [
        {"file": f"a/{number}.jpg", "detections": [BOX, {**BOX, "bbox": [0.5, 0, 0.25, 1]}][: number % 3]}
        for number in range(count)
    ]


def outcome(path: Path) -> list[str]:
    """Return everything that a listing of the file gives, in words."""
    found: list[str] = []
    options = ListingOptions()
    try:
        found.extend(repr(item) for item in MegaDetectorSource().items(str(path), options))
    except SourceError as error:
        found.append(f"SourceError: {error}")
    return [*found, *options.findings.lines()]


Read = Callable[[str], tuple[list[str], list[str], int]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Read a text at once and one by one; also returns how many elements were decoded at once."""
    path = tmp_path_factory.mktemp("plain") / "md.json"
    several = streamed_json._Text.several
    at_once = 0

    def counted(*given: Any) -> list[Any] | None:
        nonlocal at_once
        found = several(*given)
        at_once += len(found or ())
        return found

    def read(text: str) -> tuple[list[str], list[str], int]:
        nonlocal at_once
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        at_once = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streamed_json, "_LEAST_AT_ONCE", 300)
            patch.setattr(streamed_json._Text, "several", counted)
            fast = outcome(path)
            patch.setattr(streamed_json._Text, "several", lambda *_: None)
            return fast, outcome(path), at_once

    return read


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
@pytest.mark.parametrize("header_first", [False, True])
def test_plain_entries_are_decoded_at_once_in_any_layout(both: Read, indent: int | None, header_first: bool) -> None:
    fast, slow, at_once = both(text_of(plain(60), indent=indent, header_first=header_first))
    assert fast == slow
    assert len(fast) == 60
    assert at_once >= 90  # of 60 in each of two passes


SPECIAL = {
    "NaN": '{"file": "x.jpg", "detections": [{"category": "1", "conf": NaN, "bbox": [0, 0, 1, 1]}]}',
    "half a surrogate pair": r'{"file": "x\ud800.jpg", "detections": []}',
    "the same member twice": '{"file": "x.jpg", "file": "y.jpg", "detections": []}',
    "the same member twice, apart from its colon": '{"file" : "x.jpg", "file": "y.jpg", "detections": []}',
    "the same member twice, and quotation marks in disguise": r'{"file": "x.jpg", "file": "\u0022:\u0022.jpg", '
    r'"detections": []}',
    "the same member of a box twice": '{"file": "x.jpg", '
    '"detections": [{"category": "1", "conf": 0.1, "conf": 0.9, "bbox": [0, 0, 1, 1]}]}',
    "a quotation mark": r'{"file": "a\"b.jpg", "detections": []}',
    "an escaped member": r'{"fil\u0065": "x.jpg", "detections": []}',
    "deep nesting": '{"file": "x.jpg", "detections": ' + "[" * 70 + "]" * 70 + "}",
    "very deep nesting": '{"file": "x.jpg", "detections": ' + "[" * 5000 + "]" * 5000 + "}",
    "a large whole number": '{"file": "x.jpg", '
    '"detections": [{"category": "1", "conf": 100000000000000000000000, "bbox": [0, 0, 1, 1]}]}',
    "thousands of digits": '{"file": "x.jpg", "detections": [{"category": "1", "conf": ' + "1" * 5000 + ', "bbox": [0, 0, 1, 1]}]}',
    "a number beyond floats": '{"file": "x.jpg", '
    '"detections": [{"category": "1", "conf": 1e400, "bbox": [0, 0, 1, 1]}]}',
    "whole numbers": '{"file": "x.jpg", "detections": [{"category": "1", "conf": 1, "bbox": [0, 0, 1, 1]}]}',
    "pixels": '{"file": "x.jpg", "detections": [{"category": "1", "conf": 0.5, "bbox": [10, 20, 300, 400]}]}',
    "an unknown category": '{"file": "x.jpg", "detections": [{"category": "9", "conf": 0.5, "bbox": [0, 0, 1, 1]}]}',
    "two boxes in one place": '{"file": "x.jpg", '
    '"detections": [{"category": "1", "conf": 0.5, "bbox": [0, 0, 1, 1]}, {'
    '"category": "1", "conf": 0.4, "bbox": [0.00001, 0, 0.9999, 1]}]}',
    "a failure": '{"file": "x.jpg", "failure": "Failure image access", "detections": null}',
    "a file that is listed twice": '{"file": "a/3.jpg", "detections": []}',
    "the same file with backslashes": r'{"file": "a\\3.jpg", "detections": []}',
    "a video": '{"file": "x.mp4", "detections": [{"category": "1", "conf": 0.5, "bbox": [0, 0, 1, 1]}]}',
    "a frame of a video": '{"file": "x.mp4/frame000012.jpg", "detections": []}',
    "a name outside the folder": '{"file": "../x.jpg", "detections": []}',
    "an empty name": '{"file": "", "detections": []}',
    "a tab in a text": '{"file": "a\tb.jpg", "detections": []}',
    "a list": "[]",
    "a text that looks like the next entry": '{"file": "},\\n  {\\"file\\"", "detections": []}',
    "further members": '{"file": "x.jpg", "detections": [], "datetime": "2024:05:06 07:08:09"}',
    "a leading zero": '{"file": "x.jpg", "detections": [{"category": "1", "conf": 01, "bbox": [0, 0, 1, 1]}]}',
    "a comma too many": '{"file": "x.jpg", "detections": [],}',
    "no colon": '{"file" "x.jpg", "detections": []}',
}  # fmt: skip


@pytest.mark.parametrize("kind", SPECIAL)
def test_an_unusual_entry_among_plain_ones_gives_the_same_items_and_messages(both: Read, kind: str) -> None:
    """Models: lists with NaN, edited by hand, joined by scripts, and with names that are not UTF-8."""
    whole = text_of(plain(40), indent=None)
    place = whole.index('{"file": "a/20.jpg"')
    fast, slow, at_once = both(f"{whole[:place]}{SPECIAL[kind]}, {whole[place:]}")
    assert fast == slow
    assert at_once >= 10


PIECES = [
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\",
    " ",
    "\n",
    "NaN",
    "1e999",
    '"file": "b.jpg",',
    "-",
    "0",
    "\\ud800",
    "é",
    "\t",
    "null",
]


@settings(max_examples=120, deadline=None)
@given(
    count=st.integers(0, 30),
    indent=st.sampled_from([None, 1]),
    damages=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(["", *PIECES])), max_size=2),
    cut=st.floats(0.5, 1.5),
)
def test_damaged_files_give_the_same_items_and_the_same_errors(
    both: Read, count: int, indent: int | None, damages: list[tuple[float, int, str]], cut: float
) -> None:
    text = text_of(plain(count), indent=indent)
    for place, length, piece in damages:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + length :]
    fast, slow, _ = both(text[: int(cut * len(text))])
    assert fast == slow


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 40), chunk=st.integers(16, 700), indent=st.sampled_from([None, 0, 2]))
def test_elements_have_their_numbers_however_the_file_is_cut_into_chunks(
    tmp_path_factory: pytest.TempPathFactory, count: int, chunk: int, indent: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "chunks.json"
    path.write_text(text_of(plain(count), indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed_json, "_LEAST_AT_ONCE", 1)
        found: list[tuple[str, int | None, Any]] = []
        for name, number, value in walk(path, chunk_bytes=chunk, at_once=AtOnce("images", "file", in_range)):
            if isinstance(value, Several):
                assert number is not None
                found += [(name, number + after, one.as_record()) for after, one in enumerate(value)]
            else:
                found.append((name, number, value))
    assert found == [tuple(event) for event in walk(path)]


def test_numbers_out_of_range_are_left_to_the_careful_reader() -> None:
    wide = '{"file": "a", "detections": [{"category": "1", "conf": 0.5, "bbox": [0, 0, 2, 1]}]}'
    assert well_formed(wide) is not None
    assert in_range(wide) is None
    assert in_range(wide.replace("2", "1")) == [PlainImage("a", well_formed(wide.replace("2", "1"))[0].detections)]  # type: ignore[index]


def test_boxes_are_apart_if_their_left_edges_are() -> None:
    def boxes(*left: float) -> list[Any]:
        found = well_formed(json.dumps({"file": "a", "detections": [{**BOX, "bbox": [x, 0, 0.1, 0.1]} for x in left]}))
        assert found is not None
        return found[0].detections

    assert are_apart(boxes(0.1, 0.2))
    assert are_apart(boxes(0.3, 0.1, 0.2))
    assert not are_apart(boxes(0.1, 0.1001))
    assert not are_apart(boxes(0.3, 0.1, 0.3))
