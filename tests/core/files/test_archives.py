"""Archives from other programs: refused before anything is written, or unpacked."""

from __future__ import annotations

import os
import stat
import tarfile
import tracemalloc
import unicodedata
import zipfile
from contextlib import closing, suppress
from pathlib import Path

import pytest
from archive_samples import tarred, zipped
from windows_disk import windows_disk

from bioclip_core.errors import SourceError
from bioclip_core.files.archive_gate import Limits
from bioclip_core.files.archive_tar import FAULTS, TarReader
from bioclip_core.files.archives import archive_kind, open_archive
from bioclip_core.process import system


def made(kind: str, path: Path, *members: tuple[str, bytes]) -> Path:
    return zipped(path, *members) if kind == "zip" else tarred(path, *members)


def special_tar(path: Path, kind: bytes, target: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("photos/a.jpg")
        entry.type, entry.linkname = kind, target
        archive.addfile(entry)
    return path


def link_in_zip(path: Path, target: str = "/etc/passwd", mode: int = stat.S_IFLNK) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("photos/a.jpg")
        entry.create_system, entry.external_attr = 3, (mode | 0o777) << 16
        archive.writestr(entry, target)
    return path


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_is_known_by_its_content_and_gives_its_members(tmp_path: Path, mode: str) -> None:
    members = (("meta.xml", b"<archive/>"), ("photos/a.jpg", b"\xff\xd8 picture"), ("photos/empty.txt", b""))
    path = tmp_path / "archive.dat"
    path = zipped(path, *members) if mode == "zip" else tarred(path, *members, mode=mode)
    assert archive_kind(path) == ("zip" if mode == "zip" else "tar")
    with open_archive(path) as archive:
        assert list(archive.members) == ["meta.xml", "photos/a.jpg", "photos/empty.txt"]
        assert archive.members["photos/a.jpg"].size == 10
        assert archive.open("photos/a.jpg").read() == b"\xff\xd8 picture"
        assert archive.open("meta.xml").read(4) == b"<arc"


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8b no gzip")
    assert archive_kind(tmp_path / "a.jpg") is None
    assert archive_kind(tmp_path / "a.gz") is None
    assert archive_kind(tmp_path) is None
    with pytest.raises(SourceError, match=r"a\.jpg is not a zip or tar archive; give one, or a folder"):
        open_archive(tmp_path / "a.jpg")


def extract(path: Path, folder: Path) -> None:
    with open_archive(path) as archive:
        archive.extract(folder)


def test_members_are_extracted_with_their_times(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", ("x/a.txt", b"one"), ("b.txt", b"two"))
    extract(path, tmp_path / "all")
    assert (tmp_path / "all" / "x" / "a.txt").read_bytes() == b"one"
    assert (tmp_path / "all" / "x" / "a.txt").stat().st_mtime == 1_700_000_000
    with open_archive(path) as archive:
        assert archive.extract(tmp_path / "some", ["b.txt"]) == [tmp_path / "some" / "b.txt"]
    assert [file.name for file in (tmp_path / "some").rglob("*")] == ["b.txt"]


def test_names_with_backslashes_and_dots_are_made_plain(tmp_path: Path) -> None:
    with open_archive(zipped(tmp_path / "a.zip", ("photos\\cam1\\a.jpg", b"a"), ("./b//c.jpg", b"b"))) as archive:
        assert list(archive.members) == ["photos/cam1/a.jpg", "b/c.jpg"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.txt", "would leave the folder"), ("a/../../evil.txt", "would leave the folder"),
        ("..\\evil.txt", "would leave the folder"), ("/etc/evil.txt", "absolute path"),
        ("C:\\evil.txt", "absolute path"), ("\\\\server\\evil.txt", "absolute path"),
    ],
)  # fmt: skip
def test_members_that_would_be_written_elsewhere_are_refused(tmp_path: Path, kind: str, name: str, why: str) -> None:
    path = made(kind, tmp_path / "somebodys", ("good.txt", b"good"), (name, b"evil"))
    with pytest.raises(SourceError, match=f"somebodys is refused: its member .*evil.txt' .*{why}"):
        open_archive(path)
    with pytest.raises(SourceError, match=why):
        extract(path, tmp_path / "into")
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (tarfile.SYMTYPE, "is a symbolic link to '/etc/passwd'"), (tarfile.LNKTYPE, "is a hard link to '/etc/passwd'"),
        (tarfile.CHRTYPE, "a device file"), (tarfile.BLKTYPE, "a device file"), (tarfile.FIFOTYPE, "special kind"),
    ],
)  # fmt: skip
def test_links_and_devices_in_a_tar_file_are_refused(tmp_path: Path, kind: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=f"member 'photos/a.jpg' .*{why}.*only ordinary files are accepted"):
        open_archive(special_tar(tmp_path / "a.tar", kind, "/etc/passwd"))


def test_links_and_devices_in_a_zip_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"member 'photos/a\.jpg' is a symbolic link; only ordinary files"):
        open_archive(link_in_zip(tmp_path / "a.zip"))
    with pytest.raises(SourceError, match="is a device file"):
        open_archive(link_in_zip(tmp_path / "b.zip", mode=stat.S_IFCHR))


@pytest.mark.parametrize("mode", ["zip", "w:gz", "w:xz"])
def test_a_thousandfold_expansion_is_refused_with_its_numbers_before_it_is_unpacked(tmp_path: Path, mode: str) -> None:
    content = b"\0" * (24 << 20)
    path = tmp_path / "bomb"
    path = zipped(path, ("a.txt", content)) if mode == "zip" else tarred(path, ("a.txt", content), mode=mode)
    del content
    tracemalloc.start()  # counts Python's own memory, where a reader would hold the unpacked data
    with pytest.raises(
        SourceError, match=r"expands (at least )?[\d,]+-fold, [\d,]+ to 25,165,824 bytes; allowed is 300-fold"
    ):
        open_archive(path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20  # the window of xz is 8 MiB
    tracemalloc.stop()


def test_many_small_members_expand_together(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", *[(f"{n}.txt", b"\0" * 900_000) for n in range(40)])
    with pytest.raises(SourceError, match=r"expands at least .*-fold"):
        open_archive(path)
    with open_archive(path, Limits(ratio=2000)) as archive:
        assert len(archive.members) == 40


def test_the_total_and_the_number_of_members_are_limited(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a", b"x" * 600), ("b", b"y" * 600))
    with pytest.raises(SourceError, match=r"has at least 1,200 bytes unpacked; allowed are 1,000: unpack it yourself"):
        open_archive(path, Limits(total_bytes=1000))
    with pytest.raises(SourceError, match="more than 1 members, which is the limit"):
        open_archive(path, Limits(members=1))


def test_a_tar_header_that_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 6 << 30
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 10_240)
    with pytest.raises(SourceError, match=r"a header of 6,442,450,944 bytes; allowed are 1,048,576"):
        open_archive(tmp_path / "a.tar")


def test_members_that_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.txt", os.urandom(4000)), compression=zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "a") as archive:
        for n in range(3):  # three more entries in the table of contents, all for the same bytes
            entry = archive.infolist()[0]
            again = zipfile.ZipInfo(f"b{n}.txt")
            again.header_offset, again.CRC = entry.header_offset, entry.CRC
            again.compress_size = again.file_size = entry.file_size
            archive.filelist.append(again)
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(SourceError, match="its members overlap"):
        open_archive(path)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_comes_twice_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.warns(UserWarning, match="Duplicate name") if kind == "zip" else pytest.MonkeyPatch.context():
        path = made(kind, tmp_path / "a", ("x/a.txt", b"1"), ("x/a.txt", b"2"))
    with pytest.raises(SourceError, match=r"'x/a\.txt' is duplicated"):
        open_archive(path)
    with pytest.raises(SourceError, match="a file and a folder at once"):
        open_archive(made(kind, tmp_path / "b", ("x", b"1"), ("x/a.txt", b"2")))


def test_damage_and_encryption_are_reported_in_one_line(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.txt", b"hello" * 100), compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hellohello", b"hellohullo", 1))
    with open_archive(path) as archive, pytest.raises(SourceError, match=r"a\.zip: a\.txt cannot be read.*CRC"):
        archive.open("a.txt").read()
    whole = zipped(tmp_path / "b.zip", ("a.txt", b"hello" * 100)).read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"b\.zip is truncated or damaged: copy it again"):
        open_archive(tmp_path / "b.zip")
    locked = bytearray(whole)
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "c.zip").write_bytes(bytes(locked))
    with pytest.raises(SourceError, match="is encrypted"):
        open_archive(tmp_path / "c.zip")
    cut = tarred(tmp_path / "d.tgz", ("a.txt", os.urandom(100_000)), ("b.txt", b"b"), mode="w:gz").read_bytes()
    (tmp_path / "d.tgz").write_bytes(cut[:50_000])
    with pytest.raises(SourceError, match=r"d\.tgz is truncated or damaged: copy it again"):
        open_archive(tmp_path / "d.tgz")


def test_existing_files_are_not_overwritten_and_extracted_ones_are_removed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("a.txt", b"theirs"), ("b.txt", b"theirs"))
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "b.txt").write_bytes(b"mine")
    with pytest.raises(SourceError, match=r"b\.txt cannot be written to .*File exists"):
        extract(path, tmp_path / "into")
    assert [(file.name, file.read_bytes()) for file in (tmp_path / "into").iterdir()] == [("b.txt", b"mine")]


def test_a_link_in_the_folder_does_not_lead_an_extraction_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "x").symlink_to(tmp_path / "elsewhere")
    path = zipped(tmp_path / "a.zip", ("x/a.txt", b"theirs"))
    with pytest.raises(SourceError, match="would be written outside"):
        extract(path, tmp_path / "into")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    archive = open_archive(zipped(tmp_path / "a.zip", ("a.txt", b"a")))
    with archive, pytest.raises(SourceError, match=r"has no member 'b\.txt'; it has a\.txt"):
        archive.open("b.txt")


def tar_header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, mtime: bytes = b"") -> bytes:
    """Return one header with any number as size and any bytes as time, whose checksum is right."""
    entry = tarfile.TarInfo(name)
    entry.type = kind
    block = bytearray(entry.tobuf(tarfile.GNU_FORMAT)[:512])
    block[124:136] = (b"\xff" if size < 0 else b"\x80") + (size % 256**11).to_bytes(11, "big")
    block[136:148] = mtime or block[136:148]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(*records: tuple[str, str]) -> bytes:
    """Return the block that describes the next header."""
    lines = [f" {key}={value}\n".encode() for key, value in records]
    data = b"".join(b"%d%b" % (len(line) + (2 if len(line) < 98 else 3), line) for line in lines)
    return tar_header("p", len(data), tarfile.XHDTYPE) + data.ljust(-(-len(data) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (tar_header("a.jpg", -512), "'a.jpg' states a size of -512 bytes"),
        (tar_header("a.jpg", 0) + tar_header("b.jpg", -1024), "'b.jpg' states a size of -1,024 bytes"),
        (pax(("size", "-512")) + tar_header("a.jpg"), "damaged|states a size|duplicated"),
        (tar_header("a.jpg", 2**80), "expands at least"),
        (pax(("path", "a.jpg")) * 3000 + tar_header("a.jpg"), "damaged: copy it again .maximum recursion depth"),
        (tar_header("p", -512, tarfile.XHDTYPE), "a header of -512 bytes"),
        (tar_header("p", 2**80, tarfile.GNUTYPE_LONGNAME), "a header of 1,208,"),
    ],
)
def test_a_tar_with_numbers_that_cannot_be_is_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content + bytes(1024))
    with pytest.raises(SourceError, match=why) as refused:
        open_archive(path).close()
    assert "\n" not in str(refused.value)
    with suppress(*FAULTS), closing(TarReader(path)) as reader:
        assert len(list(reader.first_names(50, 1 << 20))) <= 50


@pytest.mark.parametrize("mtime", ["inf", "-inf", "nan", "1e300", "-5", "99999999999999999999"])
def test_a_time_that_no_clock_shows_does_not_stop_unpacking(tmp_path: Path, mtime: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(
        pax(("mtime", mtime)) + tar_header("a.jpg") + tar_header("b.jpg", mtime=b"\x80" + b"\xff" * 11) + bytes(1024)
    )
    with open_archive(path) as archive:
        assert [file.name for file in archive.extract(tmp_path / "out")] == ["a.jpg", "b.jpg"]
        assert {member.modified_s for member in archive.members.values()} == {0}


def test_members_whose_names_are_one_on_a_disk_without_letter_case_stay_two_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as packed:
        for name in ("cam/A.jpg", "cam/a.jpg", "cam/a\u0308.jpg", "cam/\u00e4.jpg"):
            packed.writestr(name, name)
    with open_archive(tmp_path / "p.zip") as archive, windows_disk(tmp_path):
        archive.extract(tmp_path / "x", anywhere=True)
        places = {name: archive.place_of(tmp_path / "x", name) for name in archive.members}
    assert {name: place.read_text("utf-8") for name, place in places.items()} == {name: name for name in places}
    assert len({unicodedata.normalize("NFC", str(place)).casefold() for place in places.values()}) == 4


def test_members_with_names_that_windows_refuses_are_unpacked_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "is_windows", lambda: True)
    names = [
        "con/aux.jpg",
        "NUL .txt",
        "com\u00b9.jpg",
        "a?b*.jpg",
        "10:30.jpg",
        "dots..",
        "blank ",
        "con.d/\u00e9.jpg",
    ]
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as packed:
        for name in names:
            packed.writestr(name, name)
    with open_archive(tmp_path / "p.zip") as archive, windows_disk(tmp_path):
        archive.extract(tmp_path / "x", anywhere=True)
        assert [archive.place_of(tmp_path / "x", name).read_text("utf-8") for name in names] == names
