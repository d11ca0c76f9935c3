"""YAML from outside: scalars of YAML 1.2, unique names, and refusals in one line with the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bioclip_core.errors import DataError
from bioclip_core.files.yaml_documents import read_yaml


def read(folder: Path, text: str | bytes) -> dict[str, Any]:
    file = folder / "c.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(file, name="configuration")


def test_words_that_yaml_1_1_takes_for_truths_dates_and_times_are_texts(tmp_path: Path) -> None:
    text = "languages: [en, no, on, y]\nday: 2024-01-02\ntime: 12:30\nis: true\ncount: 1_000\nshare: 1e-3\nnothing:\nid: 007x\n"
    assert read(tmp_path, text) == {
        "languages": ["en", "no", "on", "y"], "day": "2024-01-02", "time": "12:30", "is": True, "count": 1000, "share": 0.001,
        "nothing": None, "id": "007x",
    }  # fmt: skip


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfoutput: o\r\nseed: 1\r\n") == {"output": "o", "seed": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: {c: 1,\n  c: 2}", r"line 3: 'c' is given twice, first in line 2: give it once"),
        ("a: 1\na: 2", r"line 2: 'a' is given twice, first in line 1"),
        ("a:\n\tb: 1", "line 2: is indented with a tab: use blanks"),
        ("2019: x", "line 1: the name '2019' is not a text: put it in quotation marks"),
        ("a: 1\nb: {c: 0,05}", "line 2: a comma before 05 ends the value: write numbers with a decimal point"),
        ("a: {2019: x}", "line 1: the name '2019' is not a text: put it in quotation marks"),
        ("a: &x 1\nb: *x", r"line 2: the alias \*x is not supported: write it out"),
        ("a: !!python/object:os.system x", "the tag tag:yaml.org,2002:python/object:os.system is not supported"),
        ("", "c.yaml is empty"),
        ("- a\n- b", "c.yaml is a list: write names with values"),
        ("a: [1", "line 1: expected ',' or ']'"),
        ("a: " + 100 * "[" + 100 * "]", "nested more than 64 deep"),
        (b"a: \xff", "is not UTF-8: save it as UTF-8"),
        ("a: 1\n---\nb: 2", "line 2: but found another document"),
    ],
)  # fmt: skip
def test_what_is_not_such_a_document_is_refused_with_its_line(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(tmp_path, text)


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"configuration .*c.yaml cannot be read: No such file"):
        read_yaml(tmp_path / "c.yaml", name="configuration")
    with pytest.raises(DataError, match="more than 1,048,576 bytes"):
        read(tmp_path, "a: " + 1024**2 * "x")
