r"""Names of files as Windows writes them, read here: drives, shares, long paths, and addresses of files."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from bioclip_core.errors import DataError
from bioclip_core.files.documents import read_toml
from bioclip_core.files.drives import (
    name_from_pipe,
    name_of_file_address,
    relative,
    sqlite_address,
    without_long_mark,
)
from bioclip_core.files.moved import MovedNames
from bioclip_core.process import system
from bioclip_plugin.items.media import path_of


@pytest.mark.parametrize(
    ("path", "address"),
    [
        (r"C:\my stores\run#1.db", "file:///C:/my%20stores/run%231.db?mode=ro"),
        (r"\\server\share\s.db", "file:////server/share/s.db?mode=ro"),
        (r"\\?\C:\s.db", "file:///C:/s.db?mode=ro"),
        (r"\\?\UNC\server\share\s.db", "file:////server/share/s.db?mode=ro"),
    ],
)
def test_sqlite_takes_a_store_on_a_drive_or_a_share(path: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses the name of a server as "invalid uri authority"."""
    monkeypatch.setattr(system, "is_windows", lambda: True)
    assert sqlite_address(PureWindowsPath(path), "mode=ro") == address


def test_sqlite_takes_a_store_with_a_question_mark() -> None:
    assert sqlite_address(PurePosixPath("/a?b/s.db"), "mode=ro") == "file:///a%3Fb/s.db?mode=ro"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("file:///data/my%20photos/a.jpg", "/data/my photos/a.jpg"),
        ("file://localhost/data/a.jpg", "/data/a.jpg"),
        ("file:///C:/photos/%C3%A9.jpg", "C:/photos/é.jpg"),
        ("file:///C|/photos/a.jpg", "C:/photos/a.jpg"),
        ("file://server/share/a b.jpg", r"\\server\share\a b.jpg"),
    ],
)
def test_an_address_of_a_file_names_the_same_file_on_every_system(address: str, name: str) -> None:
    assert name_of_file_address(address) == name


@pytest.mark.parametrize("address", ["file://[::1/a.jpg", "file://a]/b.jpg", "file://a\u2100b/c.jpg"])
def test_a_malformed_address_of_a_file_is_its_own_name(address: str) -> None:
    assert name_of_file_address(address) == address


@pytest.mark.parametrize(
    "name",
    [r"D:\photos\cam 1\a.JPG", "d:/Photos/cam 1/a.JPG", r"\\?\D:\photos\cam 1\a.JPG", "//?/D:/photos/cam 1/a.JPG"],
)
def test_a_drive_is_replaced_however_its_name_is_written(name: str) -> None:
    assert MovedNames({"D:\\photos": "/data"}, PurePosixPath()).new_name(name) == "/data/cam 1/a.JPG"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [r"\\server\Share\a.JPG", "//SERVER/share/a.JPG", r"\\?\UNC\server\share\a.JPG"])
def test_a_share_is_replaced_however_its_name_is_written(name: str) -> None:
    assert MovedNames({r"\\server\share": "/data"}, PurePosixPath()).new_name(name) == "/data/a.JPG"  # type: ignore[arg-type]


def test_a_name_without_the_mark_of_a_long_path_stays() -> None:
    assert without_long_mark(r"\\server\share\?x") == r"\\server\share\?x"


def test_a_file_on_another_drive_has_no_relative_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str, _start: str) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    assert relative("a/b", "a") == "b"
    monkeypatch.setattr(os.path, "relpath", refuse)
    assert relative("D:/a", "C:/b") is None


@pytest.fixture
def fsdecode_of_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Windows machine whose console has code page 850, and whose system has 1252."""
    pages = {"oem": "cp850", "mbcs": "cp1252"}

    def page(name: str) -> codecs.CodecInfo | None:
        return codecs.lookup(pages[name]) if name in pages else None

    codecs.register(page)
    monkeypatch.setattr(system, "is_windows", lambda: True)
    monkeypatch.setattr(
        os, "fsdecode", lambda name: name if isinstance(name, str) else name.decode("utf-8", "surrogatepass")
    )
    yield
    codecs.unregister(page)


@pytest.mark.usefixtures("fsdecode_of_windows")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp850", "cp1252"])
def test_names_that_a_program_of_windows_sends_are_found(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Føx é.jpg").touch()
    assert name_from_pipe("Føx é.jpg".encode(encoding)) == "Føx é.jpg"


@pytest.mark.usefixtures("fsdecode_of_windows")
def test_bytes_that_are_not_utf_8_are_a_name_on_windows_too() -> None:
    assert name_from_pipe(b"no such f\xf8x.jpg") == "no such f\udcf8x.jpg"
    assert path_of("x%E9.jpg") == Path("x\udce9.jpg")


@pytest.mark.parametrize(
    "value",
    [
        r"'D:\temp\new.db'",
        '"D:/temp/new.db"',
        r'"D:\\temp\\new.db"',
        r'"\\\\nas\\x" # "D:\temp"',
        r'"a\tb"',
        r'"a" # = "D:\x"',
    ],
)
def test_paths_of_windows_are_taken_from_an_options_file_as_toml_writes_them(tmp_path: Path, value: str) -> None:
    (tmp_path / "o.toml").write_text(f"store = {value}\n")
    assert "\t" not in read_toml(tmp_path / "o.toml", name="")["store"].replace("a\tb", "")


@pytest.mark.parametrize("value", [r'"D:\temp\new.db"', r'"D:\photos"', r'["a", "D:\temp=/data"]', r'"\\nas\new"'])
def test_a_path_of_windows_in_double_quotation_marks_is_refused_with_the_way_to_write_it(
    tmp_path: Path, value: str
) -> None:
    """TOML reads "D:\\temp" as a name with a tab."""
    (tmp_path / "o.toml").write_text(f"store = {value}\n")
    with pytest.raises(DataError, match=r"in double quotation marks, .* write it in single ones"):
        read_toml(tmp_path / "o.toml", name="")
