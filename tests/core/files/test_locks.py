"""Locks with which a program marks what it works on: shared ones too, which Windows does not have on bytes."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from windows_disk import windows_disk

from bioclip_core.files.locks import lock
from bioclip_core.process import system
from bioclip_plugin.store.database.holds import FileHolds


class Msvcrt:
    """Byte locks of Windows: of a descriptor, never shared, in the way of that descriptor too, gone when it is closed."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        self._locked: dict[tuple[int, int, int], int] = {}

    def locking(self, file: int, mode: int, count: int) -> None:
        start, state = os.lseek(file, 0, os.SEEK_CUR), os.fstat(file)
        keys = [(state.st_dev, state.st_ino, byte) for byte in range(start, start + count)]
        if mode == self.LK_UNLCK:
            if any(self._locked.get(key) != file for key in keys):
                raise PermissionError(errno.EACCES, "Permission denied")
            for key in keys:
                del self._locked[key]
        elif any(self._is_held(key) for key in keys):
            raise PermissionError(errno.EACCES, "Permission denied")
        else:
            self._locked.update(dict.fromkeys(keys, file))

    def _is_held(self, key: tuple[int, int, int]) -> bool:
        try:
            state = os.fstat(self._locked[key])
        except (KeyError, OSError):
            return False
        return key[:2] == (state.st_dev, state.st_ino)


@pytest.fixture(params=["here", "windows"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "windows":
        monkeypatch.setattr(system, "is_windows", lambda: True)
        monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt())  # type: ignore[arg-type]
    return str(request.param)


@pytest.mark.usefixtures("kind")
def test_a_lock_is_shared_by_some_or_had_by_one_alone(tmp_path: Path) -> None:
    one, two, three = files = [os.open(tmp_path / "mark", os.O_RDWR | os.O_CREAT) for _ in range(3)]
    assert [lock(one, exclusive=False), lock(two, exclusive=False), lock(three, exclusive=True)] == [True, True, False]
    os.close(one)
    assert lock(three, exclusive=True) is False
    assert lock(two, exclusive=True) is True
    assert lock(three, exclusive=False) is False
    assert lock(two, exclusive=False) is True
    assert lock(three, exclusive=False) is True
    for file in files[1:]:
        os.close(file)


@pytest.mark.usefixtures("kind")
def test_a_run_is_marked_until_the_last_program_that_works_on_it_ends(tmp_path: Path) -> None:
    one, two, other = (FileHolds(str(tmp_path / "s.db")) for _ in range(3))
    with windows_disk(tmp_path) if sys.modules.get("msvcrt") else windows_disk(tmp_path / "elsewhere"):
        one.hold(1)
        two.hold(1)
        assert other.is_held(None, 1)  # type: ignore[arg-type]
        one.release(1)
        assert other.is_held(None, 1)  # type: ignore[arg-type]
        two.close()
        assert not list(tmp_path.iterdir())
        assert not other.is_held(None, 1)  # type: ignore[arg-type]
