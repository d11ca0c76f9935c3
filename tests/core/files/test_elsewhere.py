"""Files that moved: the beginning of their names that has to be replaced is found in folders nearby."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.files.elsewhere import moved_beginning, replacing
from bioclip_core.files.moved import MovedNames


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@pytest.mark.parametrize("moved", ["new", "here/new", "here/disk/new", "disk/new"])
def test_files_are_found_with_the_longest_common_end(tmp_path: Path, moved: str) -> None:
    fill(tmp_path / moved, "a/1.jpg", "b/1.jpg", "b/2.jpg")
    (tmp_path / "here").mkdir(exist_ok=True)
    missing = [f"/gone/photos/{name}" for name in ("a/1.jpg", "b/1.jpg", "b/2.jpg")]
    assert moved_beginning(missing, [tmp_path / "here"]) == ("/gone/photos", str(tmp_path / moved), 3)


def test_names_of_windows_are_found_too(tmp_path: Path) -> None:
    fill(tmp_path / "copied", "cam2/a.JPG")
    assert moved_beginning([r"D:\survey\cam2\a.JPG"], [tmp_path]) == (r"D:\survey", str(tmp_path / "copied"), 1)


def test_the_folder_with_most_of_the_files_is_taken(tmp_path: Path) -> None:
    fill(tmp_path / "first", "1.jpg")
    fill(tmp_path / "second", "1.jpg", "2.jpg")
    found = moved_beginning(["/gone/1.jpg", "/gone/2.jpg"], [tmp_path])
    assert found == ("/gone", str(tmp_path / "second"), 2)


def test_a_file_that_does_not_fit_is_not_taken(tmp_path: Path) -> None:
    fill(tmp_path / "other", "1.jpg")
    assert moved_beginning(["/gone/1.jpg"], [tmp_path], lambda _missing, _found: False) is None
    assert moved_beginning(["/gone/no such name.jpg"], [tmp_path]) is None


_PART = st.text(st.characters(exclude_characters="/\0\\", codec="utf-8"), min_size=1, max_size=8).filter(
    lambda part: part not in (".", "..") and part.isprintable()  # others are not for shlex, which knows no $'...'
)


@settings(max_examples=50, deadline=None)
@given(old=st.lists(_PART, min_size=1, max_size=3), name=_PART)
def test_the_option_that_is_proposed_finds_the_file(
    tmp_path_factory: pytest.TempPathFactory, old: list[str], name: str
) -> None:
    folder = tmp_path_factory.mktemp("it's moved")
    fill(folder, name)
    missing = "/" + "/".join([*old, name])
    found = moved_beginning([missing], [folder])
    if "=" in "".join(old):
        return
    assert found is not None
    option, value = shlex.split(replacing(*found[:2]))
    assert option == "--replace-prefix"
    before, _, after = value.partition("=")
    at = MovedNames({before: after}, folder).new_name(missing)
    assert at is not None
    assert Path(at).read_text() == name
