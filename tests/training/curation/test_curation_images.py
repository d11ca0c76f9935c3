"""Stage ``images``: hashes and sizes by hand, images that cannot be read, files that hold many, and interruptions."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from catalog_samples import picture
from imaging_samples import encoded, given_records, put, record, result
from PIL import Image
from pyarrow import parquet

from bioclip_core.errors import ImageError
from bioclip_training.catalog.fingerprints import fingerprint
from bioclip_training.curation.configuration import Curation, SourceConfig
from bioclip_training.curation.imaging import images as module
from bioclip_training.curation.imaging import tasks
from bioclip_training.curation.imaging.images import NO_FILE, NO_IMAGE, ImagesStage
from bioclip_training.curation.imaging.openers import Openers
from bioclip_training.curation.manifests import StageManifest


def configured(folder: Path, **options: Any) -> Curation:
    sources = {entry.name: SourceConfig(entry) for entry in sorted((folder / "sources").iterdir())}
    return Curation(folder / "out", sources, **options)


def manifest(config: Curation) -> StageManifest:
    found = StageManifest.read(config.output / "images")
    assert found is not None
    return found


def test_hashes_size_and_look_of_an_image(tmp_path: Path) -> None:
    data = encoded(picture(1, (96, 80)), "JPEG", exif=_exif(orientation=6))
    file = put(tmp_path / "sources/a/x.jpg", data)
    row = record("a", "1", "x.jpg", published_md5=hashlib.md5(data).hexdigest().upper())
    found = result(configured(tmp_path), [given_records(row), ImagesStage()])[row["key"]]
    look = fingerprint(file, [None], 0, perceptual=True).looks[0]
    assert found == {
        "key": row["key"], "sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest(), "unreadable": "",
        "hash_mismatch": "", "phash": look.hashed, "phash_inner": found["phash_inner"], "colours": look.colours,
        "width": 80, "height": 96, "bytes": len(data),
    }  # fmt: skip
    assert len(found["phash_inner"]) == 2 * len(look.hashed)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_an_image_of_one_colour_has_no_look(tmp_path: Path) -> None:
    put(tmp_path / "sources/a/x.png", encoded(Image.new("RGB", (40, 30), "white")))
    row = record("a", "1", "x.png")
    found = result(configured(tmp_path), [given_records(row), ImagesStage()])[row["key"]]
    assert (found["unreadable"], found["phash"], found["phash_inner"], found["colours"]) == ("", b"", b"", b"")


def test_images_that_cannot_be_read_stay_with_the_reason(tmp_path: Path) -> None:
    good = encoded(picture(2), "JPEG")
    folder = tmp_path / "sources/a"
    put(folder / "cut.jpg", good[: len(good) // 2])
    put(folder / "page.jpg", b"<!DOCTYPE html><html>gone</html>")
    put(folder / "empty.jpg", b"")
    put(folder / "good.jpg", good)
    rows = [
        *(record("a", name, f"{name}.jpg") for name in ("cut", "page", "empty", "gone", "good")),
        record("a", "url", url="https://example.org/x.jpg"), record("a", "none"),
        record("a", "outside", "good.jpg", box=(1.5, 0, 0.2, 0.2)),
    ]  # fmt: skip
    config = configured(tmp_path)
    found = result(config, [given_records(*rows), ImagesStage()])
    reasons = {row["record_id"]: found[row["key"]]["unreadable"] for row in rows}
    assert reasons["good"] == ""
    assert "truncated" in reasons["cut"]
    assert reasons["page"].startswith("not an image that can be read (starts with the text")
    assert reasons["empty"] == "the file is empty (0 bytes)"
    assert reasons["gone"].startswith("the file does not exist")
    assert (reasons["url"], reasons["none"]) == (NO_FILE, NO_IMAGE)
    assert "fractions of the upright image" in reasons["outside"]
    assert str(tmp_path) not in "".join(reasons.values())
    assert found[rows[0]["key"]]["sha256"] == hashlib.sha256(good[: len(good) // 2]).hexdigest()
    dropped = {entry.reason: (entry.count, entry.example) for entry in manifest(config).dropped}
    assert {reason: count for reason, (count, _) in dropped.items()} == {
        "whose image cannot be read": 5, "without a file on this machine": 2,
    }  # fmt: skip
    assert dropped["whose image cannot be read"][1].startswith("a: ")


def test_a_published_hash_that_is_not_that_of_the_bytes_is_counted(tmp_path: Path) -> None:
    put(tmp_path / "sources/a/x.png", encoded(picture(3)))
    wrong = record("a", "wrong", "x.png", published_sha256="0" * 64)
    other = record("a", "other", "x.png", published_sha256="see the website")  # no hash: nothing can be compared
    config = configured(tmp_path)
    found = result(config, [given_records(wrong, other), ImagesStage()])
    digest = found[wrong["key"]]["sha256"]
    assert found[wrong["key"]]["hash_mismatch"] == f"published sha256 000000000000…, that of the bytes {digest[:12]}…"
    assert (found[wrong["key"]]["unreadable"], found[other["key"]]["hash_mismatch"]) == ("", "")
    assert manifest(config).counts["images with other bytes than were published (column hash_mismatch)"] == 1


def test_a_published_hash_of_pixels_is_compared_with_the_pixels(tmp_path: Path) -> None:
    pixels = picture(3, (32, 24)).tobytes()
    put(tmp_path / "sources/a/x", b"")
    table = {"image": [pixels, pixels], "resized_size": [[24, 32]] * 2}
    parquet.write_table(pa.table(table), tmp_path / "sources/a/p.parquet")
    hashes = hashlib.md5(pixels).hexdigest(), "0" * 32
    rows = [record("a", str(row), f"p.parquet#{row}", published_md5=md5) for row, md5 in enumerate(hashes)]
    found = result(configured(tmp_path), [given_records(*rows), ImagesStage()])
    assert [found[row["key"]]["hash_mismatch"] for row in rows] == [
        "", f"published md5 000000000000…, that of the bytes {hashes[0][:12]}…",
    ]  # fmt: skip
    assert {row["unreadable"] for row in found.values()} == {""}


def test_members_rows_and_compressed_members_are_read_in_the_order_of_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{name}.png": encoded(picture(seed)) for seed, name in enumerate("dbca")}
    _tar(tmp_path / "sources/a/x.tar", images)
    plain = (tmp_path / "sources/a/x.tar").read_bytes()
    put(tmp_path / "sources/b/y.tar.gz", gzip.compress(plain))
    (tmp_path / "sources/c").mkdir()
    parquet.write_table(pa.table({"image": list(images.values())}), tmp_path / "sources/c/z.parquet")
    rows = [
        *(record("a", name, f"x.tar#{name}") for name in images), *(record("b", name, f"y.tar.gz#{name}") for name in images),
        *(record("c", str(at), f"z.parquet#{at}") for at in range(4)),
    ]  # fmt: skip
    read: list[tuple[str, str]] = []
    plainly = Openers.stored
    monkeypatch.setattr(Openers, "stored", lambda self, *place: read.append(place) or plainly(self, *place))
    config = configured(tmp_path, threads=1)
    found = result(config, [given_records(*rows), ImagesStage()])
    assert read == [
        *(("a", f"x.tar#{name}") for name in images), *(("b", f"y.tar.gz#{name}") for name in images),
        *(("c", f"z.parquet#{at}") for at in range(4)),
    ]  # fmt: skip
    digests = [hashlib.sha256(data).hexdigest() for data in images.values()]
    assert [found[row["key"]]["sha256"] for row in rows] == digests * 3
    assert [note for note in manifest(config).notes if "y.tar.gz is compressed; it was unpacked" in note]


def test_a_copy_of_a_compressed_tar_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    _tar(tmp_path / "x.tar", {"a.png": encoded(picture(1))})
    put(tmp_path / "sources/b/y.tar.gz", gzip.compress((tmp_path / "x.tar").read_bytes()))
    row = record("b", "1", "y.tar.gz#a.png")
    config = configured(tmp_path)
    result(config, [given_records(row), ImagesStage()])
    shutil.rmtree(config.output / "kept")
    with module.opened_sources(config) as openers:
        assert openers.read("b", "y.tar.gz#a.png") == encoded(picture(1))
        with pytest.raises(ImageError, match=r"no member 'c\.png'"):
            openers.read("b", "y.tar.gz#c.png")


def _tar(file: Path, members: dict[str, bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))


def test_boxes_of_one_image_are_read_once_and_look_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Image.new("RGB", (160, 80))
    both.paste(picture(4, (80, 80)), (0, 0))
    both.paste(picture(5, (80, 80)), (80, 0))
    put(tmp_path / "sources/a/x.png", encoded(both))
    rows = [record("a", str(at), "x.png", box=(at / 2, 0, 0.5, 1)) for at in (0, 1)]
    read: list[str] = []
    plainly = Openers.stored
    monkeypatch.setattr(Openers, "stored", lambda self, *place: read.append(place[1]) or plainly(self, *place))
    one, other = result(configured(tmp_path), [given_records(*rows), ImagesStage()]).values()
    assert read == ["x.png"]
    assert one["sha256"] == other["sha256"]
    assert one["phash"] != other["phash"]
    assert (one["width"], one["height"]) == (160, 80)


class Fault(BaseException):
    """Stands for the end of the process."""


def test_an_interrupted_stage_reads_no_finished_piece_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PIECE_IMAGES", 3)
    rows = [record("a", str(seed), f"{seed}.png") for seed in range(8)]
    for seed in range(8):
        put(tmp_path / f"sources/a/{seed}.png", encoded(picture(seed, (24, 20))))
    stages = [given_records(*rows), ImagesStage()]
    read: list[str] = []
    plainly = module.seen

    def failing(*arguments: Any) -> Any:
        read.append(arguments[2])
        if arguments[2] == "5.png" and read.count("5.png") == 1:
            raise Fault
        return plainly(*arguments)

    monkeypatch.setattr(module, "seen", failing)
    config = configured(tmp_path, threads=1)
    with pytest.raises(Fault):
        result(config, stages)
    before = len(read)
    interrupted = result(config, stages)
    assert sorted(read[before:]) == [f"{seed}.png" for seed in range(3, 8)]
    fresh = Curation(tmp_path / "fresh", config.sources, threads=3)
    assert result(fresh, stages) == interrupted
    names = [(entry.file, entry.sha256) for entry in manifest(config).parts]
    assert [(entry.file, entry.sha256) for entry in manifest(fresh).parts] == names
    before = len(read)
    put(tmp_path / "sources/a/8.png", encoded(picture(9, (24, 20))))
    more = [given_records(*rows, record("a", "8", "8.png")), ImagesStage()]
    assert len(result(config, more)) == 9
    assert sorted(read[before:]) == ["6.png", "7.png", "8.png"]  # the piece that the new one belongs to
    before = len(read)
    (tmp_path / "sources/a/7.png").chmod(0o600)  # its permissions were the reason why it could not be read, perhaps
    assert len(result(config, more)) == 9
    assert sorted(read[before:]) == ["6.png", "7.png", "8.png"]
    before = len(read)
    (tmp_path / "sources/a/7.png").chmod(0o400)  # protected from changes
    assert len(result(config, more)) == 9
    assert read[before:] == []
