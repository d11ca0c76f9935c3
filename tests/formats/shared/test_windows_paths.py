r"""Names in files on a Windows machine (with its own path functions), and stores of Windows that are exported here."""

from __future__ import annotations

import ntpath
import os
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import pytest

from bioclip_core.errors import UsageError
from bioclip_core.process import system
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared import paths, relative_names
from bioclip_plugin.formats.shared.relative_names import CommonFolder, NamesUnder, OutsideFolder
from bioclip_plugin.formats.shared.table_rows import located_cell
from bioclip_plugin.items.media import uri_of
from bioclip_plugin.store.database.address import network_kind, parse_address


class WindowsPath(PureWindowsPath):
    def is_symlink(self) -> bool:
        return False


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A Windows machine with the working directory C:\\work, as these modules see it; returns the names that its disk was asked for."""
    names: list[str] = []

    def lexists(path: object) -> bool:
        names.append(str(path))
        return False

    path = SimpleNamespace(**{name: getattr(ntpath, name) for name in dir(ntpath) if not name.startswith("__")})
    path.lexists = lexists
    path.realpath = path.abspath = lambda given: ntpath.normpath(ntpath.join("C:\\work", given))
    windows: dict[str, Any] = {
        name: getattr(os, name) for name in ("fspath", "fsencode", "fsdecode", "curdir", "pardir", "PathLike")
    }
    fake = SimpleNamespace(**windows, path=path, sep="\\", getcwd=lambda: "C:\\work")
    for module in (paths, relative_names):
        monkeypatch.setattr(module, "os", fake)
    monkeypatch.setattr(paths, "Path", WindowsPath)
    monkeypatch.setattr(system, "is_windows", lambda: True)
    paths._remembered.cache_clear()
    return names


@pytest.mark.parametrize(
    ("name", "folder", "uri"),
    [
        ("cam1\\a.jpg", "D:\\photos", "D:/photos/cam1/a.jpg"),
        ("cam1/b/../a.jpg", "D:\\photos", "D:/photos/cam1/a.jpg"),
        ("d:\\PHOTOS\\a.jpg", "D:\\photos", "d:/PHOTOS/a.jpg"),
        ("\\\\?\\D:\\photos\\a.jpg", "D:\\photos", "D:/photos/a.jpg"),
        ("E:\\a.jpg", "E:\\", "E:/a.jpg"),
        ("a.jpg", "E:\\", "E:/a.jpg"),
        ("\\\\nas\\traps\\cam1\\a.jpg", "\\\\nas\\traps", "//nas/traps/cam1/a.jpg"),
        ("//NAS/traps/cam1/a.jpg", "\\\\nas\\traps", "//NAS/traps/cam1/a.jpg"),
        ("C:/work/cam1/a.jpg", ".", "C:/work/cam1/a.jpg"),
    ],
)
def test_names_inside_the_folder_are_taken_with_forward_slashes(
    asked: list[str], name: str, folder: str, uri: str
) -> None:
    assert paths.located(name, WindowsPath(folder), ListingOptions())[0] == uri


@pytest.mark.parametrize(
    "name",
    ["C:photo.jpg", "D:photo.jpg", "D:cam1\\a.jpg", "\\photo.jpg", "/photo.jpg", "C:\\other\\a.jpg", "..\\a.jpg", "cam1\\..\\..\\a.jpg",
     "\\\\?\\C:\\other\\a.jpg", "\\\\.\\C:\\work\\a.jpg", "\\\\server\\share\\a.jpg", "//server/share/a.jpg",
     "\\\\?\\UNC\\server\\s\\a.jpg"],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["D:\\photos", ".", "C:\\work", "\\\\nas\\traps\\2024"])
def test_names_that_leave_the_folder_are_refused(asked: list[str], name: str, folder: str) -> None:
    with pytest.raises(UsageError, match="outside the folder"):
        paths.located(name, WindowsPath(folder), ListingOptions())


@pytest.mark.parametrize(
    "name", ["\\\\evil\\share\\a.jpg", "//evil/share/a.jpg", "\\/evil/share/a.jpg", "\\\\?\\UNC\\evil\\s\\a.jpg"]
)
def test_a_server_that_a_foreign_file_names_is_not_asked(asked: list[str], name: str) -> None:
    with pytest.raises(UsageError, match="on a share of Windows outside the folder"):
        paths.located(name, WindowsPath("C:\\work"), ListingOptions())
    assert asked == []


def test_uris_have_forward_slashes_so_that_a_store_can_be_read_elsewhere(asked: list[str]) -> None:
    assert uri_of("photos\\cam1\\a.jpg") == "photos/cam1/a.jpg"
    assert uri_of("\\\\nas\\traps\\a.jpg") == "//nas/traps/a.jpg"
    assert uri_of("\\\\?\\C:\\a.jpg") == "\\\\?\\C:\\a.jpg"  # only so does Windows take long ones


@pytest.mark.parametrize("base", ["D:\\Photos", "d:/photos", "D:\\photos\\"])
def test_the_base_folder_of_an_export_has_any_letter_case_on_windows(asked: list[str], base: str) -> None:
    assert NamesUnder(WindowsPath(base))("D:/photos/cam1/a.jpg") == "cam1/a.jpg"  # type: ignore[arg-type]


@pytest.mark.parametrize("start", ["D:\\photos\\", "D:/photos/", "\\\\nas\\traps\\", "//nas/traps/"])
def test_a_store_of_windows_is_exported_here_with_names_under_one_folder(start: str) -> None:
    uris = [start + name for name in ("cam1\\a.jpg", "cam1\\b.jpg", "cam2/a.jpg")]
    names = CommonFolder(uris).names()
    assert [names(uri) for uri in uris] == ["cam1/a.jpg", "cam1/b.jpg", "cam2/a.jpg"]
    under = NamesUnder(Path(start))
    assert [under(uri) for uri in uris] == ["cam1/a.jpg", "cam1/b.jpg", "cam2/a.jpg"]
    with pytest.raises(OutsideFolder):
        names("D:/other/a.jpg")


@pytest.mark.parametrize("cell", ["file:///D:/photos/a%20b.jpg", "file://nas/photos/a%20b.jpg", "D://photos/a b.jpg"])
def test_an_address_of_a_file_of_windows_is_found_where_it_is_now(tmp_path: Path, cell: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a b.jpg").touch()
    old = "\\\\nas\\photos" if "nas" in cell else "D:/photos"
    _, path = located_cell(cell.replace("D://", "D:/"), tmp_path, ListingOptions(replace_prefix=(f"{old}=photos",)))
    assert path == tmp_path / "photos" / "a b.jpg"
    assert located_cell(cell, tmp_path, ListingOptions())[1] not in (None, Path("/photos/a b.jpg"))


def test_a_store_on_a_drive_is_a_path_and_not_an_address(asked: list[str]) -> None:
    assert parse_address("C:\\stores\\s.db").database == "C:\\stores\\s.db"
    assert parse_address("sqlite:///C:\\stores\\s.db").database == "C:\\stores\\s.db"
    assert parse_address("C://stores/s.db").drivername == "sqlite"
    assert parse_address("sqlite:///\\\\nas\\stores\\s.db").database == "\\\\nas\\stores\\s.db"


def test_a_store_on_a_share_is_known_by_its_name_or_its_drive(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "is_network_drive", lambda root: root == "Z:\\")
    paths_ = ("C:\\s.db", "\\\\?\\C:\\s.db", "Z:\\s.db", "\\\\nas\\traps\\s.db", "\\\\?\\UNC\\nas\\traps\\s.db")
    assert [network_kind(PureWindowsPath(path)) is not None for path in paths_] == [False, False, True, True, True]  # type: ignore[arg-type]
