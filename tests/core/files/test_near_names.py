"""Existing files with nearly the name of a missing one: found where the name is the same, proposed otherwise."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.errors import BioclipError, ImageError
from bioclip_core.files.near_names import near_hint, near_names, same_name
from bioclip_core.images.decoding import read_bytes
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.process import system
from bioclip_training.catalog.rows import Catalog

NAME = "Été/cam 1/IMG_1.JPG"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Été" / "cam 1").mkdir(parents=True)
    (tmp_path / NAME).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "written",
    [unicodedata.normalize("NFD", NAME), "Été\\cam 1\\IMG_1.JPG", f"{NAME}\u00a0", f" {NAME}\u200b", f"\ufeff{NAME}"],
)
def test_another_unicode_form_other_slashes_and_blanks_around_it_are_the_same_name(written: str) -> None:
    assert same_name(written) == NAME
    assert same_name("Été/cam 1/IMG_2.JPG") is None


def test_a_name_in_latin_1_is_the_same_as_in_utf_8() -> None:
    assert same_name(os.fsdecode(NAME.encode("latin-1"))) == NAME


@pytest.mark.parametrize(
    ("written", "difference"),
    [
        ("été/cam 1/img_1.jpg", "letter case"),
        ("Été/cam1/IMG_1.JPG", "blanks"),
        ("Été/CAM  1/IMG_1.JPG", "blanks and letter case"),
        (unicodedata.normalize("NFD", NAME), "its Unicode form"),
        ("Été\\cam 1\\IMG_1.JPG", "its slashes"),
    ],
)
def test_a_missing_file_is_reported_with_the_one_that_nearly_has_its_name(written: str, difference: str) -> None:
    with pytest.raises(ImageError) as refused:
        read_bytes(written)
    assert f"{NAME!r} exists, whose name differs only in {difference}: correct the name, or rename the file" in str(
        refused.value
    )


def test_a_name_that_is_near_to_two_files_proposes_both(folder: Path) -> None:
    (folder / "a.jpg").touch()
    (folder / "A.JPG").touch()
    assert near_hint("A.jpg") == "; 'A.JPG' and 'a.jpg' exist, whose names differ only in letter case"


def test_nothing_is_proposed_where_nothing_is_near(folder: Path) -> None:
    assert near_names("Été/cam 2/IMG_1.JPG") == []
    assert near_hint("") == near_hint("a\0b") == near_hint("x" * 5000) == ""
    assert near_names(folder / NAME) == []


def test_a_file_that_came_since_the_last_question_is_proposed(folder: Path) -> None:
    assert near_names("new.jpg") == []
    (folder / "NEW.jpg").touch()
    os.utime(folder, ns=(1, 1))  # a coarse clock may show no change within a test
    assert near_names("new.jpg") == ["NEW.jpg"]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([str.upper, str.lower, str.swapcase, lambda name: name.replace(" ", "\u00a0")]),
    st.sampled_from(["NFC", "NFD"]),
    st.sampled_from(["/", "\\"]),
)
def test_every_way_to_write_the_name_leads_to_the_file(change: object, form: str, slash: str) -> None:
    written = unicodedata.normalize(form, change(NAME)).replace("/", slash)  # type: ignore[operator]
    assert written == NAME or near_names(written) == [NAME]


@pytest.mark.parametrize("opened", [LabelSet.open, Catalog.open])
def test_whatever_is_opened_by_name_is_proposed_in_its_own_letter_case(
    folder: Path, opened: Callable[[str], object]
) -> None:
    (folder / "Leaves").touch()
    with pytest.raises(BioclipError, match="'Leaves' exists, whose name differs only in letter case"):
        opened("leaves")


FORMS: dict[str, tuple[Literal["NFC", "NFD"], ...]] = {
    " ".join(forms): forms for forms in product(get_args(Literal["NFC", "NFD"]), repeat=4)
}


@pytest.mark.parametrize("forms", FORMS)
def test_each_folder_and_the_file_may_have_a_unicode_form_of_its_own(tmp_path: Path, forms: str) -> None:
    """A Mac decomposes the names of its files, and not those of the folder on another system that they are copied to."""
    texts = ("F\u00f8x \u00e1", "c\u00e1m", "\u00e9 1.jpg", "c\u00e1m/\u00e9 1.jpg")
    base, folder, name, cell = (
        unicodedata.normalize(form, text) for form, text in zip(FORMS[forms], texts, strict=True)
    )
    file = tmp_path / base / folder / name
    file.parent.mkdir(parents=True)
    file.touch()
    asked = f"{tmp_path / base}/{cell}"
    assert os.path.lexists(asked) or same_name(asked) == str(file)
    assert same_name(asked.replace("1.jpg", "2.jpg")) is None


def test_a_backslash_before_the_closing_quotation_mark_is_named_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """cmd and PowerShell give "D:\\my photos\\" --store s.db as one word."""
    monkeypatch.setattr(system, "is_windows", lambda: True)
    assert "leave that backslash out" in near_hint('D:\\my photos" --store s.db')
    assert not near_hint("D:\\my photos")
