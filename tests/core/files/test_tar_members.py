"""Members of tars in place: the same as those of ``tarfile``, whatever wrote the headers and whatever is damaged."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.files import tar_members
from bioclip_core.files.tar_members import LostBytes, Member, members_in_place

NAMES = ("a.jpg", "d/ü.txt", "./x/y.json", "d/" + "n" * 90 + ".jpg", "long/" * 40 + "b.jpg", "ok.txt", "raw\udcff.jpg")


def archive(kind: int, *, mtime: float = 1_700_000_000, members: int = 7) -> bytes:
    """Return a tar with files, folders and links among them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind, encoding="utf-8", errors="surrogateescape") as tar:
        for number, name in enumerate(NAMES[:members]):
            about = tarfile.TarInfo(name)
            about.size, about.mtime = 300 * number, mtime  # type: ignore[assignment]
            tar.addfile(about, io.BytesIO(bytes(about.size)))
        for name, of_type in (("folder/", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE)):
            about = tarfile.TarInfo(name)
            about.type, about.linkname, about.mtime = of_type, "a.jpg", mtime  # type: ignore[assignment]
            tar.addfile(about)
    return stream.getvalue()


def members(file: Path, data: bytes) -> list[Member | LostBytes]:
    file.write_bytes(data)
    with file.open("rb") as opened:
        return list(members_in_place(opened))


@pytest.mark.parametrize("mtime", [1_700_000_000, 1_700_000_000.25])
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_tarfile(tmp_path: Path, kind: int, mtime: float) -> None:
    data = archive(kind, mtime=mtime, members=4 if kind == tarfile.USTAR_FORMAT else 7)
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        expected = [
            (one.name, one.offset, one.offset_data, one.size, one.type, one.isreg(), one.isdir()) for one in tar
        ]
    found = [one for one in members(tmp_path / "x.tar", data) if isinstance(one, Member)]
    assert [(*one[:5], one.isreg(), one.isdir()) for one in found] == expected


def test_damaged_and_truncated_tars_are_read_as_by_tarfile_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: Any, at: int) -> Iterator[Member]:
        yield from ()
        return at

    rng = random.Random(5)
    whole = archive(tarfile.PAX_FORMAT, mtime=1.5)
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(20)]
    for _ in range(60):
        at = rng.randrange(len(whole) // 512) * 512 + rng.choice((0, 100, 125, 130, 150, 156, 257, 3))
        damaged.append(whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :])
    found = [members(tmp_path / "x.tar", data) for data in damaged]
    monkeypatch.setattr(tar_members, "_plain_members", nothing)
    assert found == [members(tmp_path / "x.tar", data) for data in damaged]


def test_plain_headers_need_no_tarfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = archive(tarfile.PAX_FORMAT, mtime=1.5, members=6)
    *before, link = members(tmp_path / "x.tar", whole)
    monkeypatch.setattr(tarfile, "TarFile", None)
    assert isinstance(link, Member)
    assert members(tmp_path / "x.tar", whole[: link.offset]) == before
    with pytest.raises(TypeError):
        members(tmp_path / "x.tar", whole)
