"""Beginnings of file names that are replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.errors import UsageError
from bioclip_core.files.moved import MovedNames
from bioclip_core.tables.options import PathOptions, TableOptions


@pytest.mark.parametrize(
    ("old", "name", "new"),
    [
        (r"D:\survey", r"D:\survey\cam2\a.JPG", "/data/cam2/a.JPG"),
        (r"D:\survey", "d:/Survey/cam2/a.JPG", "/data/cam2/a.JPG"),
        ("D:\\survey\\", r"D:\survey\a.JPG", "/data/a.JPG"),
        (r"\\nas\share", r"\\NAS\Share\cam2\h.JPG", "/data/cam2/h.JPG"),
        ("/old", "/old/x y/z.jpg", "/data/x y/z.jpg"),
        ("/old/", "/old/x.jpg", "/data/x.jpg"),
        ("cam1", "cam1/back\\slash.jpg", "/data/back\\slash.jpg"),
        (r"D:\survey", r"D:\surveys\a.JPG", None),
        ("/old", "/older/x.jpg", None),
        ("/old", "/OLD/x.jpg", None),
    ],
)
def test_a_beginning_is_replaced_up_to_a_slash(old: str, name: str, new: str | None) -> None:
    assert MovedNames({old: "/data"}, Path()).new_name(name) == new


def test_the_longest_beginning_counts() -> None:
    moved = MovedNames({"/a": "/short", "/a/b": "/long"}, Path())
    assert moved.new_name("/a/b/c.jpg") == "/long/c.jpg"
    assert moved.new_name("/a/c.jpg") == "/short/c.jpg"


def test_an_empty_new_beginning_is_the_base_folder(tmp_path: Path) -> None:
    assert MovedNames({"/old": ""}, tmp_path).new_name("/old/x.jpg") == str(tmp_path / "x.jpg")


def test_a_relative_new_beginning_is_in_the_working_directory_else_in_the_base_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, here = tmp_path / "base", tmp_path / "here"
    for folder in (base / "photos", here):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert MovedNames({"/old": "photos"}, base).new_name("/old/x.jpg") == str(base / "photos" / "x.jpg")
    (here / "photos").mkdir()
    with pytest.raises(UsageError, match="the new beginning photos is a folder in the working directory and one in"):
        MovedNames({"/old": "photos"}, base)


@pytest.mark.parametrize("given", ["photos", "=photos"])
def test_a_replacement_needs_two_values(given: str) -> None:
    with pytest.raises(UsageError, match="two values with = between them are needed"):
        PathOptions(replace_prefix=(given,))


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="given twice"):
        TableOptions(replace_prefix=("/a=b", "/a=c"))
    with pytest.raises(UsageError, match="--day-first and --month-first exclude each other"):
        TableOptions(day_first=True, month_first=True)
    with pytest.raises(UsageError, match="encoding 'latin-17' is not known"):
        TableOptions(encoding="latin-17")
