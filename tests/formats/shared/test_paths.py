"""Paths that files contain: the places that they mean, and refused ones."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared import paths
from bioclip_plugin.formats.shared.paths import located, unused_prefixes


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "base" / "cam1").mkdir(parents=True)
    (tmp_path / "base" / "cam1" / "a.jpg").touch()
    (tmp_path / "secret.jpg").touch()
    monkeypatch.chdir(tmp_path)
    return Path("base")


@pytest.mark.parametrize("name", ["cam1/a.jpg", "cam1\\a.jpg", "./cam1/a.jpg", "cam1//a.jpg", "cam2/../cam1/a.jpg"])
def test_a_relative_name_is_found_under_the_base_folder_with_either_slash(base: Path, name: str) -> None:
    assert located(name, base, ListingOptions()) == ("base/cam1/a.jpg", Path("base/cam1/a.jpg"))


def test_the_base_folder_of_the_options_comes_first(base: Path, tmp_path: Path) -> None:
    assert located("a.jpg", base, ListingOptions(Path("base/cam1")))[0] == "base/cam1/a.jpg"
    assert located("b.jpg", Path(), ListingOptions())[0] == "b.jpg"
    assert located("b.jpg", Path("/"), ListingOptions())[0] == "/b.jpg"


def test_a_whole_path_inside_the_base_folder_is_taken(base: Path, tmp_path: Path) -> None:
    inside = os.fspath(tmp_path / "base" / "cam1" / "a.jpg")
    assert located(inside, tmp_path / "base", ListingOptions()) == (inside, Path(inside))
    assert located(inside, base, ListingOptions()) == (inside, Path(inside))
    (tmp_path / "alias").symlink_to(base)
    aliased = os.fspath(tmp_path / "alias" / "cam1" / "a.jpg")
    assert located(aliased, base, ListingOptions()) == (aliased, Path(aliased))


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret.jpg", "cam1/../../secret.jpg", "..\\secret.jpg", "C:\\a.jpg", "c:a.jpg", "~/a.jpg",
     "~root/a.jpg", "\\\\server\\share\\a.jpg", "//server/a.jpg", "..", ".", "cam1/..", "/"],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["base", "base/cam1/..", ".", "..", "../.."])
def test_a_name_that_leaves_the_base_folder_is_refused(name: str, folder: str) -> None:
    with pytest.raises(UsageError, match=r"outside the folder .*(--allow-outside|--replace-prefix)"):
        located(name, Path(folder), ListingOptions())


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("name", ["", "  ", "a\0.jpg", "https://example.org/a.jpg", "file:///etc/passwd"])
def test_a_name_that_is_not_a_path_is_refused_in_any_case(base: Path, name: str, allow: bool) -> None:
    with pytest.raises(UsageError, match=r"empty or contains a NUL|is on the web|the address of a file"):
        located(name, base, ListingOptions(allow_outside=allow))


def test_a_name_that_leaves_the_base_folder_is_taken_when_asked(base: Path) -> None:
    allowed = ListingOptions(allow_outside=True)
    assert located("../secret.jpg", base, allowed) == ("secret.jpg", Path("secret.jpg"))
    assert located("/etc/x.jpg", base, allowed) == ("/etc/x.jpg", Path("/etc/x.jpg"))


def test_a_symbolic_link_may_not_leave_the_base_folder_unless_asked(base: Path, tmp_path: Path) -> None:
    (base / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (base / "up").symlink_to(tmp_path)
    (base / "inner.jpg").symlink_to("cam1/a.jpg")
    for name in ("link.jpg", "up/secret.jpg"):
        with pytest.raises(UsageError, match="symbolic link to a place outside the folder base"):
            located(name, base, ListingOptions())
        assert located(name, base, ListingOptions(allow_outside=True))[0] == f"base/{name}"
    assert located("inner.jpg", base, ListingOptions())[0] == "base/inner.jpg"
    (tmp_path / "alias").symlink_to(base)
    assert located("cam1/a.jpg", Path("alias"), ListingOptions())[0] == "alias/cam1/a.jpg"


@pytest.mark.skipif(os.name == "nt", reason="a backslash cannot be in a name there")
def test_a_file_whose_name_holds_a_backslash_is_found(base: Path) -> None:
    (base / "a\\b.jpg").touch()
    assert located("a\\b.jpg", base, ListingOptions())[1].exists()


def test_a_name_that_is_not_utf_8_is_escaped_in_the_uri_and_found_on_the_disk(base: Path) -> None:
    uri, path = located("cam1/\udce9.jpg", base, ListingOptions())
    assert uri == "base/cam1/%E9.jpg"
    assert os.fsencode(path) == b"base/cam1/\xe9.jpg"
    assert located("100%25.jpg", base, ListingOptions())[0] == "base/100%2525.jpg"


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("D:\\survey\\cam1\\a.jpg", "D:\\survey"),
        ("\\\\nas\\share\\cam1\\a.jpg", "//NAS/share"),
        ("/mnt/x/cam1/a.jpg", "/mnt/x"),
    ],
)
@pytest.mark.parametrize("new", ["base", "{here}/base", ""])
def test_the_beginning_of_a_name_from_another_machine_is_replaced(
    base: Path, tmp_path: Path, name: str, beginning: str, new: str
) -> None:
    options = ListingOptions(replace_prefix=(f"{beginning}={new.format(here=tmp_path)}",))
    uri, path = located(name, base, options)
    assert (tmp_path / path).samefile(base / "cam1" / "a.jpg")
    assert uri == os.fspath(path)
    assert list(options.findings.lines()) == [
        f"file names had their beginning {beginning} replaced: 1 (the first: {name} is read as {path})"
    ]
    assert list(unused_prefixes(options)) == []


def test_a_replaced_name_still_cannot_leave_its_new_folder(base: Path) -> None:
    options = ListingOptions(replace_prefix=("D:\\survey=base",))
    with pytest.raises(UsageError, match="outside the folder base"):
        located("D:\\survey\\..\\secret.jpg", base, options)


@pytest.mark.parametrize("name", ["D:\\survey\\cam2\\a.jpg", "\\\\nas\\share\\a.jpg"])
def test_the_message_for_a_drive_names_the_option_that_helps(base: Path, name: str) -> None:
    beginning = name.rpartition("\\")[0]
    with pytest.raises(UsageError) as refused:
        located(name, base, ListingOptions())
    assert f"--replace-prefix '{beginning}=FOLDER'" in str(refused.value)
    assert "--base-folder" not in str(refused.value)


def test_a_prefix_that_no_name_has_is_known(base: Path) -> None:
    options = ListingOptions(replace_prefix=("/nowhere=base",))
    located("cam1/a.jpg", base, options)
    assert list(unused_prefixes(options)) == ["/nowhere"]


def test_a_name_in_another_unicode_form_is_the_file(base: Path) -> None:
    (base / "été.jpg").touch()
    decomposed = unicodedata.normalize("NFD", "été.jpg")
    assert located(decomposed, base, ListingOptions()) == ("base/été.jpg", Path("base/été.jpg"))


PARTS = st.sampled_from(
    ["a", "in", "out", "link.jpg", "b c", ".", "..", ".hid", "x.", " y", "z ", "å", "C:", "~", "", "e%41"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.lists(PARTS, min_size=1, max_size=4).map("/".join),
    folder=st.sampled_from([".", "f", "f/in", "link", "f/../f", "ABSOLUTE"]),
    allow=st.booleans(),
)
def test_plain_names_are_located_as_all_others_are(base: Path, name: str, folder: str, allow: bool) -> None:
    for made in ("f/in/a", "f/a", "elsewhere/a"):
        Path(made).mkdir(parents=True, exist_ok=True)
    for link, end in (("link", "f"), ("f/out", "../elsewhere"), ("f/link.jpg", "/etc/hostname"), ("f/in/out", "..")):
        if not Path(link).is_symlink():
            Path(link).symlink_to(end)
    start = base.resolve() / "f" if folder == "ABSOLUTE" else Path(folder)
    options = ListingOptions(allow_outside=allow)

    def found() -> object:
        try:
            return located(name, start, options)
        except UsageError as error:
            return str(error)

    quick = found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "_is_plain", lambda _name: False)
        assert quick == found()


def test_a_file_that_becomes_a_link_to_elsewhere_is_refused_in_a_folder_that_was_looked_at(base: Path) -> None:
    located("a.jpg", base, ListingOptions())
    (base / "b.jpg").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="symbolic link"):
        located("b.jpg", base, ListingOptions())
