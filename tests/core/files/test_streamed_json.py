"""Large JSON files read piece by piece: values, faults and their places."""

from __future__ import annotations

import json
import math
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.errors import SourceError
from bioclip_core.files.streamed_json import beginning, members, walk


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "file.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_a_file_is_the_same_however_it_is_cut_into_chunks(tmp_path: Path, size: int) -> None:
    images = [
        {"file": 'a "quoted" [{ \\ \u00e9 \U0001f98a'},
        {"n": [1, -2.5e3, True, None], "deep": {"a": {}}},
        [],
        "x",
        12345,
        -0.5,
    ]
    content = {"before": {"a": 1}, "images": images, "empty": [], "number": 1234567, "after": "b"}
    for ascii_only in (True, False):
        path = written(tmp_path, json.dumps(content, ensure_ascii=ascii_only, indent=2))
        found: dict[str, Any] = {}
        for event in walk(path, chunk_bytes=size):
            event.add_to(found)
        assert found == content
        assert list(members(path, "images")) == list(enumerate(images))
        assert list(members(path, "empty")) == []


def test_an_array_alone_has_no_name(tmp_path: Path) -> None:
    assert list(members(written(tmp_path, " [1, [2]] \n"), "")) == [(0, 1), (1, [2])]


def test_nan_and_infinity_are_values_since_python_programs_write_them(tmp_path: Path) -> None:
    path = written(tmp_path, '{"images": [NaN, -Infinity, Infinity]}')
    nan, low, high = (value for _, value in members(path, "images"))
    assert math.isnan(nan)
    assert (low, high) == (-math.inf, math.inf)


def test_marks_of_windows_editors_are_read(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        path = written(tmp_path, '{"images": ["é"]}'.encode(encoding))
        assert list(members(path, "images")) == [(0, "é")]
        assert beginning(path).members == {"images": ["é"]}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1: '{' or '[' is expected, but the file ends there"),
        ('{"images": [{"a": 1}', "line 1, column 21: ',' or ']' is expected, but the file ends there"),
        ('{"images": [{"a": 1},\n {"a": oops}]}', "line 2, column 8: Expecting value, but found 'oops}]}'"),
        ('{"images": [1,]}', "line 1, column 15: Expecting value, but found ']}'"),
        ('{"images": []} x', "line 1, column 16: the end is expected, but found 'x'"),
        ('{"images": [], }', "line 1, column 16: a member's name in quotes is expected"),
        ('{"a" 1}', "line 1, column 6: ':' is expected"),
        ('{"images": ["never ends]}', "line 1, column 13: Unterminated string"),
        ("<html>", "line 1, column 1: '{' or '['"),
        ("[" + "[" * 100_000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("size", [5, 1 << 20])
def test_broken_json_is_named_with_line_and_column(tmp_path: Path, text: str, place: str, size: int) -> None:
    if size == 5 and len(text) > 1_000:
        return  # a value of thousands of characters in steps of five would take a minute
    with pytest.raises(SourceError) as caught:
        list(walk(written(tmp_path, text), chunk_bytes=size))
    assert "file.json is not a complete JSON file: " in str(caught.value)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"images": [{"a": 1},\n {"a": 1, "b": {"c": 1, "c": 2}}]}', "line 2, column 2 has the key 'c' twice"),
        ('{"images": [' + "[" * 65 + "]" * 65 + "]}", "line 1, column 13 has arrays and objects more than 64 deep"),
        ('{"info": {"a": 1, "a": 2}}', "line 1, column 10 has the key 'a' twice"),
        ('{"images": [], "info": 1, "images": []}', "has the member 'images' twice"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(SourceError) as caught:
        list(walk(written(tmp_path, text)))
    assert place in str(caught.value)


def test_a_raised_limit_of_recursion_does_not_end_the_process(tmp_path: Path) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)
    try:
        with pytest.raises(SourceError, match="more than 64 deep"):
            list(walk(written(tmp_path, '{"images": [' + '{"a": [' * 200_000)))
        text = '[{"a": "' + '\\"[' * 100_000  # a string without an end; its marks must not be looked at one by one
        with pytest.raises(SourceError, match="Unterminated string"):
            list(walk(written(tmp_path, text)))
    finally:
        sys.setrecursionlimit(before)


def test_the_line_is_counted_from_the_beginning_of_the_file_and_not_of_the_chunk(tmp_path: Path) -> None:
    lines = ",\n".join(json.dumps({"file": f"{number:05}.jpg"}) for number in range(500))
    with pytest.raises(SourceError, match="line 502, column 12: Expecting value"):
        list(walk(written(tmp_path, f'{{"images": [\n{lines},\n  {{"file": nothing}}]}}'), chunk_bytes=64))


def test_bytes_that_are_not_text_are_named_with_their_position(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="byte 14 is not UTF-8 text"):
        list(walk(written(tmp_path, b'{"images": ["a\xff"]}'), chunk_bytes=4))


def test_a_missing_file_and_a_missing_array_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        list(members(tmp_path / "none.json", "images"))
    with pytest.raises(SourceError, match="'images' is an object; it must be an array"):
        list(members(written(tmp_path, '{"images": {}}'), "images"))
    with pytest.raises(SourceError, match="lacks the array 'images'"):
        list(members(written(tmp_path, '{"pictures": []}'), "images"))


def test_a_large_file_is_recognised_by_its_beginning(tmp_path: Path) -> None:
    rows = ",".join(json.dumps({"file": f"{number}.jpg"}) for number in range(20_000))
    seen = beginning(written(tmp_path, f'{{"images": [{rows}], "info": {{}}}}'))
    assert list(seen.members) == ["images"]
    assert seen.members["images"][0] == {"file": "0.jpg"}
    assert len(seen.text) == 65_536
    long = beginning(written(tmp_path, '{"images": [{"file": "' + "a" * 70_000 + '"}]}'))
    assert long.members == {"images": []}
    cut = beginning(written(tmp_path, '{"info": {"a": "' + "a" * 70_000 + '"}}'))
    assert cut.members == {"info": None}


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"file,label\na.jpg,fox\n", b"\xff\xd8\xff\xe0"])
def test_other_files_have_an_empty_beginning(tmp_path: Path, content: bytes) -> None:
    assert beginning(written(tmp_path, content)).text == ""
    assert beginning(tmp_path).text == ""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    record = json.dumps({"file": "camera/IMG_0001.jpg", "detections": [{"bbox": [0.1, 0.2, 0.3, 0.4]}] * 4})
    path.write_text(f'{{"images": [{",".join([record] * 12_000)}]}}')
    chunk = 1 << 14
    tracemalloc.start()
    try:
        assert sum(event.number is not None for event in walk(path, chunk_bytes=chunk)) == 12_001
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 100 * chunk
    assert peak < 10 * chunk  # one chunk as bytes and as text, and the same for the next chunk


def test_a_damaged_byte_is_reported_by_its_place_and_hides_no_format(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"info": {"format": "a\xff"}, "images": []}')
    assert list(beginning(path).members) == ["info", "images"]
    with pytest.raises(SourceError, match="byte 22 is not UTF-8 text"):
        list(walk(path))


def test_a_number_of_thousands_of_digits_is_named_without_advice_about_python(tmp_path: Path) -> None:
    path = written(tmp_path, '{"images": [{"file": "a.jpg", "n": ' + "9" * 5_000 + "}]}")
    expected = r"cannot be used: the value at line 1, column 13 has a whole number with thousands of digits$"
    with pytest.raises(SourceError, match=expected):
        list(members(path, "images"))
