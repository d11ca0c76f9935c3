"""The reader of JSON documents: a typed value, or one line that says what is wrong."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.errors import DataError, LabelSetError
from bioclip_core.files.documents import MAX_DEPTH, convert_document, parse_document, read_document


@dataclass(frozen=True)
class Manifest:
    rows: int
    scale: float = 1.0
    kinds: list[tuple[int, int]] | None = None


def refusal(data: bytes | str, kind: Any = Manifest, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        parse_document(data, kind, name="manifest m.json", **options)
    message = str(caught.value)
    assert message.startswith("manifest m.json ")
    assert "\n" not in message
    assert len(message) < 300
    return message


def test_a_document_becomes_a_value_of_the_type_and_unknown_members_are_ignored():
    found = parse_document('\ufeff{"rows": 3, "scale": 2, "more": [1]}'.encode(), Manifest, name="m")
    assert found == Manifest(3, 2.0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"rows": "3"}', "rows: expected 'int', got 'str'"),
        ('{"rows": true}', "rows: expected 'int', got 'bool'"),
        ('{"rows": 1, "kinds": [[1, "a"]]}', "kinds[0][1]: expected 'int', got 'str'"),
        ("{}", "object missing required field 'rows'"),
        ("[1]", "expected 'object', got 'array'"),
        ('{"rows": 1, "scale": NaN}', "NaN"),
        ('{"rows": 1, "scale": -Infinity}', "-Infinity"),
        ('{"rows": 1, "scale": 1e999}', "1e999"),
        ('{"rows": 1, "rows": 2}', "the key 'rows' twice"),
        ('{"rows": 1', "line 1, column"),
        ("", "is empty"),
        (b'{"rows": \xff}', "byte 10 is 0xff"),
        ('{"rows": ' + "1" * 5000 + "}", "digits"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(data, said):
    assert said in refusal(data)


def test_half_a_surrogate_pair_is_refused_and_a_whole_one_is_not():
    assert "not Unicode" in refusal('{"name": "\\ud800"}', dict[str, Any])
    assert parse_document('{"name": "\\ud83e\\udd89"}', dict[str, Any], name="m") == {"name": "🦉"}


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_depth_is_limited_whatever_python_s_own_limit_is(brackets):
    def nested(depth):
        inner = '{"a":' if brackets == "{}" else "["
        return inner * depth + "1" + brackets[1] * depth

    parse_document(nested(MAX_DEPTH), object, name="m")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        assert f"more than {MAX_DEPTH} deep" in refusal(nested(500_000), object)
    finally:
        sys.setrecursionlimit(limit)


def test_brackets_in_text_are_not_depth():
    assert parse_document(f'{{"rows": 1, "note": "{"[" * 500}\\"["}}', Manifest, name="m").rows == 1


def test_size_is_limited_before_the_file_is_read(tmp_path):
    (tmp_path / "m.json").write_bytes(b" " * 101)
    with pytest.raises(LabelSetError, match=r"label set .*more than 100 bytes"):
        read_document(tmp_path / "m.json", Manifest, name="label set", error=LabelSetError, max_bytes=100)


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError, match="cannot be read: "):
            read_document(path, Manifest, name="manifest")


def test_a_member_of_a_larger_file_is_converted_alike():
    assert convert_document({"rows": 1}, Manifest, name="entry 3") == Manifest(1)
    with pytest.raises(DataError, match="entry 3 is not as it must be: rows"):
        convert_document({"rows": None}, Manifest, name="entry 3")


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60)
    | st.text(alphabet='{}[]":,0123456789eE.-+ntrufalsNI\\d ', max_size=60)
)
def test_any_bytes_are_a_value_or_refused(data):
    with suppress(DataError):
        parse_document(data, Manifest, name="m")


def test_a_number_of_thousands_of_digits_is_named_without_advice_about_python():
    assert refusal('{"rows": ' + "9" * 5_000 + "}", Manifest).endswith("it has a whole number with thousands of digits")
