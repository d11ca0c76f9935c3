"""Renaming and removing on Windows, where other programs hold files open for a moment, or for long."""

from __future__ import annotations

import errno
import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from windows_disk import denied, refused, windows_disk

from bioclip_core.errors import BioclipError
from bioclip_core.files import replacing
from bioclip_core.files.replacing import long_path_hint, remove_tree
from bioclip_core.files.whole import replacing_folder, whole_file, whole_folder
from bioclip_core.process import system
from bioclip_plugin.fetching.cache import WORKING
from bioclip_plugin.fetching.claims import Claims


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "is_windows", lambda: True)


def held(times: int, action: Callable[..., object]) -> Callable[..., object]:
    """Return an action of the disk that another program refuses some times first."""
    left = [times]

    def refuses(*arguments: object, **options: object) -> object:
        if left[0]:
            left[0] -= 1
            raise denied(str(arguments[0]))
        return action(*arguments, **options)

    return refuses


@pytest.mark.usefixtures("on_windows")
def test_a_virus_scanner_that_looks_at_a_new_file_does_not_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", held(2, os.replace))
    with whole_file(tmp_path / "r.csv") as draft:
        draft.write_text("a")
    assert (tmp_path / "r.csv").read_text() == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


@pytest.mark.usefixtures("on_windows")
def test_a_folder_that_is_being_scanned_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "old.csv").touch()
    monkeypatch.setattr(os, "replace", held(3, os.replace))
    with replacing_folder(tmp_path / "package") as draft:
        (draft / "new.csv").touch()
    assert [path.name for path in (tmp_path / "package").iterdir()] == ["new.csv"]


def test_elsewhere_a_refusal_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, _target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(BioclipError, match="cannot be written"), whole_file(tmp_path / "r.csv") as draft:
        draft.write_text("a")


@pytest.mark.usefixtures("on_windows")
def test_a_table_that_is_open_in_a_spreadsheet_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacing, "PATIENCE_S", 0.05)
    file = tmp_path / "r.csv"
    file.write_text("old")
    with file.open() as _, windows_disk(tmp_path):
        with (
            pytest.raises(
                BioclipError, match=r"r\.csv cannot be written: The process .*: close the programs that have it open"
            ),
            whole_file(file, force=True) as draft,
        ):
            draft.write_text("new")
        assert refused
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_a_mapped_file_counts_as_open(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "rows.npy", np.zeros((8, 2)))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    with windows_disk(tmp_path), pytest.raises(PermissionError):
        (tmp_path / "rows.npy").unlink()
    del rows
    with windows_disk(tmp_path):
        (tmp_path / "rows.npy").unlink()


@pytest.mark.usefixtures("on_windows")
def test_a_file_that_only_our_own_garbage_holds_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "rows.npy").write_bytes(b"old")
    held: list[object] = [(tmp_path / "rows.npy").open("rb")]
    held.append(held)
    gc.disable()
    try:
        del held
        with (
            windows_disk(tmp_path),
            pytest.warns(ResourceWarning),
            whole_file(tmp_path / "rows.npy", force=True) as draft,
        ):
            draft.write_bytes(b"new")
    finally:
        gc.enable()
    assert (tmp_path / "rows.npy").read_bytes() == b"new"


@pytest.mark.usefixtures("on_windows")
def test_copies_of_read_only_originals_are_written_and_replaced(tmp_path: Path) -> None:
    original = tmp_path / "archive.jpg"
    original.write_bytes(b"photo")
    original.chmod(0o444)
    for _ in range(2):
        with windows_disk(tmp_path), whole_folder(tmp_path / "copies", lambda: None) as draft:
            shutil.copy2(original, draft / "a.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.jpg", "copies"]


def test_a_copy_of_a_read_only_file_is_flushed_without_the_right_to_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    true_open = Path.open

    def watched(path: Path, mode: str = "r", *arguments: object, **options: object) -> object:
        opened.append(mode)
        return true_open(path, mode, *arguments, **options)  # type: ignore[arg-type,call-overload]

    with whole_folder(tmp_path / "copies", lambda: None) as draft:
        (draft / "a.jpg").write_bytes(b"photo")
        (draft / "a.jpg").chmod(0o444)
        monkeypatch.setattr(Path, "open", watched)
    assert opened == ["rb"]


@pytest.mark.usefixtures("on_windows")
def test_an_original_that_has_another_name_in_a_removed_folder_stays_read_only(tmp_path: Path) -> None:
    original = tmp_path / "archive.jpg"
    original.write_bytes(b"photo")
    original.chmod(0o444)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.jpg").hardlink_to(original)
    remove_tree(tmp_path / "links")
    assert original.stat().st_mode & 0o777 == 0o444


@pytest.mark.usefixtures("on_windows")
def test_a_path_that_is_too_long_for_windows_is_named_as_the_reason(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 240) / "a.csv"
    file.parent.mkdir()

    def refuse() -> None:
        raise FileNotFoundError(errno.ENOENT, "The system cannot find the path specified", str(file.resolve()))

    with pytest.raises(BioclipError, match="characters, and Windows allows 259"), whole_file(file):
        refuse()
    assert not long_path_hint(tmp_path / "a.csv")
    assert not long_path_hint("\\\\?\\C:\\" + 300 * "x")


@pytest.mark.usefixtures("on_windows")
def test_a_claim_that_windows_is_still_removing_is_taken_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / WORKING).mkdir()
    monkeypatch.setattr(Path, "open", held(2, Path.open))
    claims = Claims(tmp_path)
    assert claims.take("key")
    claims.release("key")
    assert not list((tmp_path / WORKING).iterdir())
