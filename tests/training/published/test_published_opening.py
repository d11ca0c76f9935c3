"""One image of a published collection by its uri: files, members of tars, rows of Parquet files."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from published_samples import image, write_tar
from pyarrow import parquet

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.files.archive_gate import Limits
from bioclip_training.published import parquet_images
from bioclip_training.published.opening import ImageOpener, open_image
from bioclip_training.published.tar_images import unpack


def open_files() -> set[str]:
    return {os.path.realpath(entry.path) for entry in os.scandir("/proc/self/fd")}


def test_a_uri_names_a_file_a_member_or_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(image("red"))
    write_tar(tmp_path / "s" / "x.tar", [("d/b.jpg", image("green")), ("d/c.jpg", image("blue"))])
    parquet.write_table(pa.table({"jpg": [image("blue"), image("red")]}), tmp_path / "p.parquet")
    assert open_image(tmp_path, "a.jpg") == image("red")
    assert open_image(tmp_path, "s/x.tar#d/c.jpg") == image("blue")
    assert open_image(tmp_path, "s/x.tar#d/b.jpg") == image("green")
    assert open_image(tmp_path, "p.parquet#1") == image("red")


def test_the_sign_may_be_a_part_of_names(tmp_path: Path) -> None:
    (tmp_path / "no#1.jpg").write_bytes(image("red"))
    write_tar(tmp_path / "set #2.tar", [("b#3.jpg", image("green"))])
    assert open_image(tmp_path, "no#1.jpg") == image("red")
    assert open_image(tmp_path, "set #2.tar#b#3.jpg") == image("green")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("../a.jpg", "not the name of a file"),
        ("/etc/passwd", "not the name of a file"),
        ("", "not the name of a file"),
        ("x.tar#../b.jpg", "leads out of the archive"),
        ("x.tar#link.jpg", "no member 'link.jpg' that is an ordinary file"),
        ("x.tar#other.jpg", "no member 'other.jpg'"),
        ("gone.tar#b.jpg", "does not exist"),
        ("p.parquet#2", "it has rows 0 to 1"),
        ("p.parquet#-1", "it has rows 0 to 1"),
        ("p.parquet#1", "row 1 has no image"),
        ("text.tar#b.jpg", "is not a tar file"),
    ],
)
def test_what_is_not_there_is_the_failure_of_one_image(tmp_path: Path, uri: str, said: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        out = tarfile.TarInfo("../b.jpg")
        tar.addfile(out, io.BytesIO())
    (tmp_path / "text.tar").write_text("hello")
    parquet.write_table(pa.table({"jpg": pa.array([image(), None], pa.binary())}), tmp_path / "p.parquet")
    with pytest.raises(ImageError, match=said) as caught:
        open_image(tmp_path, uri)
    assert caught.value.stage == "read"


def test_a_truncated_tar_gives_its_whole_members(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", [("a.jpg", image("red")), ("b.jpg", image("green"))])
    with tarfile.open(tar) as read:
        end = read.getmember("b.jpg").offset_data + 100
    tar.write_bytes(tar.read_bytes()[:end])
    opener = ImageOpener(tmp_path)
    assert opener.read("x.tar#a.jpg") == image("red")
    with pytest.raises(ImageError, match=r"truncated: 100 of"):
        opener.read("x.tar#b.jpg")


def test_the_first_of_equal_names_counts(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", [("a.jpg", image("red")), ("a.jpg", image("green"))])
    assert open_image(tmp_path, "x.tar#a.jpg") == image("red")


def test_a_tar_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", [("a.jpg", image("red"))])
    opener = ImageOpener(tmp_path)
    opener.read("x.tar#a.jpg")
    write_tar(tar, [("z.jpg", image("blue")), ("a.jpg", image("green"))])
    os.utime(tar, (1, 1))
    assert opener.read("x.tar#a.jpg") == image("green")


def test_a_tar_is_indexed_once_and_no_file_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bioclip_training.published import opening

    made = []

    class Counted(opening.TarImages):
        def __init__(self, path: Path) -> None:
            made.append(path)
            super().__init__(path)

    monkeypatch.setattr(opening, "TarImages", Counted)
    names = [f"{n:03}.jpg" for n in range(60)]
    content = {name: image() + name.encode() for name in names}
    write_tar(tmp_path / "x.tar", content.items())
    opener = ImageOpener(tmp_path)
    random.Random(1).shuffle(names)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opener.read, [f"x.tar#{name}" for name in names])) == [content[name] for name in names]
    assert len(made) == 1
    assert str(tmp_path / "x.tar") not in open_files()


def test_rows_are_read_in_any_order_by_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_images, "WINDOW_BYTES", 4000)  # a few batches only
    rows = [bytes([n]) * 100 for n in range(200)]
    parquet.write_table(pa.table({"image": rows}), tmp_path / "p.parquet", row_group_size=70)
    opener = ImageOpener(tmp_path)
    wanted = list(range(200)) + random.Random(1).sample(range(200), 200)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opener.read, [f"p.parquet#{n}" for n in wanted])) == [rows[n] for n in wanted]
    opener.close()
    assert str(tmp_path / "p.parquet") not in open_files()


def test_the_window_of_rows_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_images, "WINDOW_BYTES", 1 << 20)
    parquet.write_table(pa.table({"image": [bytes(10_000)] * 900}), tmp_path / "p.parquet", row_group_size=300)
    images = parquet_images.ParquetImages(tmp_path / "p.parquet")
    for row in range(900):
        images.stored(str(row))
        assert 0 < images.nbytes <= 1 << 20


def test_pixels_of_distributed_downloader_become_a_file_in_the_right_colours(tmp_path: Path) -> None:
    pixels_HWC = np.zeros((5, 7, 3), dtype=np.uint8)
    pixels_HWC[..., 0] = 255  # blue, as OpenCV orders channels
    table = pa.table({"resized_size": [[5, 7], [8, 12]], "image": [pixels_HWC.tobytes(), image("red", "PNG")]})
    parquet.write_table(table, tmp_path / "successes.parquet")
    with Image.open(io.BytesIO(open_image(tmp_path, "successes.parquet#0"))) as read:
        assert (read.size, read.getpixel((0, 0))) == ((7, 5), (0, 0, 255))
    assert open_image(tmp_path, "successes.parquet#1") == image("red", "PNG")  # a file stays as it is
    assert ImageOpener(tmp_path).stored("successes.parquet#0").cell == pixels_HWC.tobytes()


def test_images_of_hubs_are_structures_of_bytes_and_path(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"image": [{"bytes": image(), "path": "a.jpg"}]}), tmp_path / "p.parquet")
    assert open_image(tmp_path, "p.parquet#0") == image()


def test_which_column_holds_images_is_not_guessed(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"jpg": [b"1"], "image": [b"2"]}), tmp_path / "p.parquet")
    with pytest.raises(ImageError, match=r"several columns could hold its images \(jpg, image\)"):
        open_image(tmp_path, "p.parquet#0")
    parquet.write_table(pa.table({"url": ["x"]}), tmp_path / "q.parquet")
    with pytest.raises(ImageError, match="no column of it holds images; its columns are url"):
        open_image(tmp_path, "q.parquet#0")


def test_a_truncated_parquet_file_is_said(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"jpg": [image()]}), tmp_path / "p.parquet")
    data = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "p.parquet").write_bytes(data[:-20])
    with pytest.raises(ImageError, match="truncated or damaged"):
        open_image(tmp_path, "p.parquet#0")


def test_a_compressed_tar_is_unpacked_once_and_its_size_is_said(tmp_path: Path) -> None:
    write_tar(tmp_path / "image_set_01.tar.gz", [("1_2_eol.jpg", image("green"))], "w:gz")
    with pytest.raises(ImageError, match="unpack it first"):
        open_image(tmp_path, "image_set_01.tar.gz#1_2_eol.jpg")
    told: list[str] = []
    plain = unpack(tmp_path / "image_set_01.tar.gz", tmp_path / "work", tell=told.append)
    assert told == [
        f"image_set_01.tar.gz is compressed: it was unpacked into {tmp_path / 'work'}, {plain.stat().st_size:,} bytes"
    ]
    before = plain.stat().st_mtime_ns
    assert unpack(tmp_path / "image_set_01.tar.gz", tmp_path / "work", tell=told.append) == plain
    assert (len(told), plain.stat().st_mtime_ns) == (1, before)
    opener = ImageOpener(tmp_path, unpacked=tmp_path / "work")
    assert opener.read("image_set_01.tar.gz#1_2_eol.jpg") == image("green")


def test_a_damaged_or_expanding_tar_leaves_no_copy(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(200_000)
    packed = write_tar(tmp_path / "x.tar.gz", [("a.jpg", noise)], "w:gz")
    packed.write_bytes(packed.read_bytes()[:-50])
    with pytest.raises(SourceError, match="truncated or damaged"):
        unpack(packed, tmp_path / "work")
    bomb = write_tar(tmp_path / "bomb.tar.gz", [("a.jpg", bytes(3_000_000))], "w:gz")
    with pytest.raises(SourceError, match="expands more than 20-fold"):
        unpack(bomb, tmp_path / "work", limits=Limits(ratio=20, small_bytes=1000))
    (tmp_path / "note.tar.gz").write_bytes(gzip.compress(b"no tar" * 200))
    with pytest.raises(SourceError, match="it is not a tar file"):
        unpack(tmp_path / "note.tar.gz", tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.shared_data
def test_the_fixtures_of_treeoflife_and_eol_open(tmp_path: Path) -> None:
    layouts = Path(os.environ["BIOCLIP_DATA"]) / "data" / "papers_layouts"
    data = open_image(layouts, "tol_shards10m/shard-000000.tar#101fbccc-ded7-33e8-b421-eaeb534097ca.jpg")
    assert (len(data), data[:3]) == (9916, b"\xff\xd8\xff")
    with Image.open(io.BytesIO(open_image(layouts, "tol200m/source=gbif/server=x/data_0.parquet#5"))) as row:
        assert (row.size, row.format) == ((96, 96), "PNG")
    unpack(layouts / "eol" / "image_set_01.tar.gz", tmp_path)
    opener = ImageOpener(layouts / "eol", unpacked=tmp_path)
    member = opener.read("image_set_01.tar.gz#105_9001_eol-full-size-copy.jpg")
    assert (len(member), member[:3]) == (3486, b"\xff\xd8\xff")
