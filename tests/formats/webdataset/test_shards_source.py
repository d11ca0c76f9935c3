"""WebDataset shards as a source: members as items that are read in place, despite other files or damage in the tar."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.findings import Findings
from bioclip_core.images.decoding import read_bytes
from bioclip_plugin import Session, create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.webdataset.read import ShardsSource, member
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.testing import COLOURS, FakeModel

RGB = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def image(colour: str, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), RGB[colour]).save(stream, kind)
    return stream.getvalue()


def write_tar(path: Path, members: Sequence[tuple[str, bytes | str]], **options: object) -> Path:
    """Write a tar of members. A text instead of bytes is the target of a link."""
    with tarfile.open(path, "w", **options) as tar:  # type: ignore[call-overload]
        for name, data in members:
            about = tarfile.TarInfo(name)
            if isinstance(data, str):
                about.type, about.linkname = tarfile.SYMTYPE, data
                tar.addfile(about)
            else:
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
    return path


def entries(path: Path) -> list[MediaItem | Unlisted]:
    source = ShardsSource()
    assert source.takes(str(path))
    return list(source.items(str(path), ListingOptions()))


def items(path: Path) -> list[MediaItem]:
    return [entry for entry in entries(path) if isinstance(entry, MediaItem)]


def troubles(path: Path) -> list[Unlisted]:
    return [entry for entry in entries(path) if isinstance(entry, Unlisted)]


def names(path: Path) -> list[str]:
    return [item.uri.rpartition("#")[2] for item in items(path)]


def colour(item: MediaItem) -> str:
    assert item.path is not None
    with Image.open(io.BytesIO(read_bytes(item.path, item.span))) as opened:
        pixel = opened.convert("RGB").getpixel((0, 0))
    return next(name for name, value in RGB.items() if value == pixel)


def three(path: Path) -> Path:
    return write_tar(
        path,
        [
            part
            for n, name in enumerate(COLOURS)
            for part in ((f"{n:04d}.png", image(name)), (f"{n:04d}.json", json.dumps({"colour": name}).encode()))
        ],
    )


# -- listed items ------------------------------------------------------------------------------------------------------


def test_each_image_of_a_shard_is_an_item_with_its_json_and_the_place_of_its_bytes(tmp_path: Path) -> None:
    path = three(tmp_path / "a.tar")
    found = items(path)
    assert [item.uri for item in found] == [f"{path}#{n:04d}.png" for n in range(3)]
    assert [item.metadata["colour"] for item in found] == list(COLOURS)
    assert [colour(item) for item in found] == list(COLOURS)
    assert all(item.data is None for item in found)


def test_the_json_may_come_before_its_image_after_it_or_not_at_all(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar",
        [
            ("x.json", b'{"n": 1}'),
            ("x.jpg", image("red", "JPEG")),
            ("y.webp", image("red", "WEBP")),
            ("y.json", b'{"n": 2}'),
            ("z.png", image("red")),
        ],
    )
    assert [dict(item.metadata) for item in items(path)] == [{"n": 1}, {"n": 2}, {}]


def test_time_place_and_deployment_of_the_json_fill_the_fields_and_a_box_is_no_region(tmp_path: Path) -> None:
    said = {
        "timestamp": "2021-05-31T08:25:38", "decimalLatitude": 46.9, "decimalLongitude": 7.4, "deploymentID": "D1", "uri": "photos/a.jpg",
        "bboxX": 0.1, "bboxY": 0.1, "bboxWidth": 0.5, "bboxHeight": 0.5, "box": [0.1, 0.1, 0.5, 0.5], "image": "IMG.JPG", "path": "../x",
    }  # fmt: skip
    (item,) = items(write_tar(tmp_path / "a.tar", [("x.png", image("red")), ("x.json", json.dumps(said).encode())]))
    assert item.captured_at == datetime(2021, 5, 31, 8, 25, 38)
    assert (item.place.latitude, item.place.longitude, item.deployment) == (46.9, 7.4, "D1")
    assert item.regions == ()
    assert item.path == tmp_path / "a.tar"
    assert item.metadata["uri"] == "photos/a.jpg"
    assert item.metadata["box"] == [0.1, 0.1, 0.5, 0.5]


@pytest.mark.parametrize("text", [b"", b"{", b"[1, 2]", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}'])
def test_json_that_is_no_description_costs_its_image_nothing(tmp_path: Path, text: bytes) -> None:
    path = write_tar(tmp_path / "a.tar", [("x.png", image("red")), ("x.json", text), ("y.png", image("blue"))])
    assert [colour(item) for item in items(path)] == ["red", "blue"]
    assert not troubles(path)


def test_other_members_of_a_sample_are_passed_over(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar",
        [("a/x.cls", b"3"), ("a/x.png", image("red")), ("a/x.txt", b"red"), ("a/._x.png", b"junk"), ("README", b"")],
    )
    assert names(path) == ["a/x.png"]


def test_names_of_one_letter_in_different_folders_are_different_samples(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar",
        [("a/x.png", image("red")), ("a/x.json", b'{"n": 1}'), ("b/x.png", image("blue")), ("b/x.json", b'{"n": 2}')],
    )
    assert [(item.metadata["n"], colour(item)) for item in items(path)] == [(1, "red"), (2, "blue")]


def test_output_of_shards_write_is_listed_tar_by_tar_and_as_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    rows = ["image,kingdom,genus,specificEpithet"]
    for n, name in enumerate(COLOURS):
        (tmp_path / "photos" / f"{n}.png").write_bytes(image(name))
        rows.append(f"photos/{n}.png,Fictia,{name.capitalize()},fictus")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    assert run(["catalog", "build", "table.csv", "--group-by", "image", "--output", "catalog.parquet"]) == 0
    assert run(["shards", "write", "catalog.parquet", "--output", "shards"]) == 0
    whole = entries(tmp_path / "shards")
    assert all(isinstance(entry, MediaItem) for entry in whole)
    assert {entry.metadata["genus"] for entry in whole} == {"Red", "Green", "Blue"}  # type: ignore[union-attr]
    by_tar = [entry for tar in sorted((tmp_path / "shards").glob("*.tar")) for entry in entries(tar)]
    assert sorted(entry.uri for entry in by_tar) == sorted(entry.uri for entry in whole)
    assert {colour(entry) for entry in whole} == set(COLOURS)  # type: ignore[arg-type]


# -- recognised files --------------------------------------------------------------------------------------------------


def test_a_shard_is_known_by_its_content_whatever_it_is_called(tmp_path: Path) -> None:
    source = ShardsSource()
    assert source.takes(str(three(tmp_path / "no_suffix")))
    assert source.takes(str(write_tar(tmp_path / "pax.bin", [("x.png", image("red"))], format=tarfile.PAX_FORMAT)))
    for name, content in (
        ("a.tar", b"no tar" * 200),
        ("b.tar", b""),
        ("c.tar", bytes(10_240)),
        ("d.jpg", image("red", "JPEG")),
    ):
        (tmp_path / name).write_bytes(content)
        assert not source.takes(str(tmp_path / name))
    assert not source.takes(str(tmp_path))
    assert not source.takes(str(tmp_path / "gone.tar"))
    assert not source.takes("-")


def test_a_compressed_shard_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(three(tmp_path / "a.tar").read_bytes()))
    with pytest.raises(SourceError, match=r"compressed.*unpack it first"):
        entries(path)


def test_a_compressed_shard_that_is_cut_off_is_not_sent_to_gunzip(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    whole = gzip.compress(three(tmp_path / "a.tar").read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"a\.tar\.gz is truncated or damaged: copy it again"):
        entries(path)


def test_a_tar_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not hold images"):
        entries(write_tar(tmp_path / "a.tar", [("x.txt", b"text")]))


# -- odd and hostile members -------------------------------------------------------------------------------------------


def test_member_names_are_names_and_never_paths(tmp_path: Path) -> None:
    odd = [
        "../../etc/x.png",
        "/abs.png",
        "C:\\x.png",
        "a b#c?.png",
        "ключ.png",
        "-.png",
        "a\nb.png",
        "%E9.png",
        "x" * 180 + ".png",
    ]
    path = write_tar(tmp_path / "a.tar", [(name, image("red")) for name in odd], format=tarfile.PAX_FORMAT)
    found = items(path)
    assert len({item.uri for item in found}) == len(found) == len(odd)
    assert {item.path for item in found} == {path}
    assert {colour(item) for item in found} == {"red"}


def test_a_name_that_is_not_utf_8_survives(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar", [("x\udce9.png", image("red"))], format=tarfile.GNU_FORMAT, errors="surrogateescape"
    )
    (item,) = items(path)
    assert item.uri.endswith("#x%E9.png")
    assert colour(item) == "red"


def test_links_and_repeated_names_are_named_and_never_followed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("x.png", image("red")), ("y.png", "/etc/passwd"), ("x.png", image("blue"))])
    assert [colour(item) for item in items(path)] == ["red"]
    link, again = troubles(path)
    assert link.uri.endswith("#y.png")
    assert "link" in link.reason
    assert "duplicate member" in again.reason


# -- damage ------------------------------------------------------------------------------------------------------------


def test_a_truncated_shard_gives_complete_members_and_names_the_truncated_one(tmp_path: Path) -> None:
    whole = three(tmp_path / "a.tar")
    last = items(whole)[2].span
    assert last is not None
    path = tmp_path / "cut.tar"
    path.write_bytes(whole.read_bytes()[: last[0] + 10])
    assert [colour(item) for item in items(path)] == ["red", "green"]
    (trouble,) = troubles(path)
    assert trouble.uri.endswith("#0002.png")
    assert "truncated" in trouble.reason


def test_a_shard_that_is_cut_in_a_header_says_where(tmp_path: Path) -> None:
    whole = three(tmp_path / "a.tar")
    last = items(whole)[2].span
    assert last is not None
    path = tmp_path / "cut.tar"
    path.write_bytes(whole.read_bytes()[: last[0] - 200])
    assert [colour(item) for item in items(path)] == ["red", "green"]
    (trouble,) = troubles(path)
    assert "damaged: everything from byte" in trouble.reason


def test_behind_a_damaged_header_the_good_members_go_on(tmp_path: Path) -> None:
    path = three(tmp_path / "a.tar")
    second = items(path)[1].span
    assert second is not None
    data = bytearray(path.read_bytes())
    data[second[0] - 512 : second[0] - 400] = b"\xff" * 112
    path.write_bytes(bytes(data))
    found = items(path)
    assert [colour(item) for item in found] == ["red", "blue"]
    (trouble,) = troubles(path)
    assert "the shard is damaged: bytes" in trouble.reason


def test_random_damage_never_ends_the_listing_with_anything_but_a_source_error(tmp_path: Path) -> None:
    good = three(tmp_path / "a.tar").read_bytes()
    chance = random.Random(4)
    path = tmp_path / "b.tar"
    for _ in range(150):
        data = bytearray(good)
        for _ in range(chance.choice([1, 5, 200])):
            data[chance.randrange(512, len(data))] = chance.randrange(256)
        path.write_bytes(bytes(data[: chance.choice([len(data), chance.randrange(600, len(data))])]))
        try:
            for entry in entries(path):
                if isinstance(entry, MediaItem):
                    read_bytes(path, entry.span)
        except (SourceError, ImageError):
            continue


def test_a_negative_size_does_not_loop_for_ever(tmp_path: Path) -> None:
    path = three(tmp_path / "a.tar")
    data = bytearray(path.read_bytes())
    second = items(path)[1].span
    assert second is not None
    header = second[0] - 512
    data[header + 124 : header + 136] = b"\xff" * 12  # a number in base 256: -1
    data[header + 148 : header + 156] = b" " * 8
    data[header + 148 : header + 156] = b"%06o\0 " % sum(data[header : header + 512])
    path.write_bytes(bytes(data))
    assert "red" in [colour(item) for item in items(path)]


def test_a_listing_reads_headers_and_json_and_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = image("red") + bytes(2_000_000)
    path = write_tar(tmp_path / "a.tar", [(f"{n}.png", big) for n in range(8)])
    read = []
    opened = Path.open

    class Counting:
        def __init__(self, file: io.BufferedReader) -> None:
            self._file = file

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def read(self, size: int = -1) -> bytes:
            data = self._file.read(size)
            read.append(len(data))
            return data

    monkeypatch.setattr(Path, "open", lambda self, *a, **k: Counting(opened(self, *a, **k)))  # type: ignore[arg-type]
    assert len(items(path)) == 8
    assert sum(read) < 50_000


# -- through a Session -------------------------------------------------------------------------------------------------


def classified(path: Path, store: Path, model: FakeModel) -> list[str]:
    manager = create_plugin_manager(installed=False)
    manager.register(model)
    with Session(model="fake", labels=("red", "green", "blue"), store=store, plugins=manager) as session:
        begun = session.begin_run([str(path)])
        answers = list(session.pipeline(begun).answers(ShardsSource().items(str(path), ListingOptions())))
    assert all(answer.failure is None for answer in answers)
    return [answer.regions[0].candidates[0].name for answer in answers]


def test_a_shard_is_classified_and_a_second_run_opens_no_image(tmp_path: Path) -> None:
    path, store, model = three(tmp_path / "a.tar"), tmp_path / "results.db", FakeModel(logit_scale=10.0)
    assert classified(path, store, model) == list(COLOURS)
    assert model.encoder.images_encoded == 3
    assert classified(path, store, model) == list(COLOURS)
    assert model.encoder.images_encoded == 3


def test_members_of_a_stored_shard_are_read_again_by_their_uri_alone(tmp_path: Path) -> None:
    path, store, model = three(tmp_path / "a.tar"), tmp_path / "results.db", FakeModel(logit_scale=10.0)
    classified(path, store, model)
    known = [MediaItem(uri=item.uri) for item in items(path)]
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel("another", logit_scale=10.0))
    with Session(model="another", labels=("red", "green", "blue"), store=store, plugins=manager) as session:
        answers = list(session.classify_stream(known))
    assert [answer.regions[0].candidates[0].name for answer in answers] == list(COLOURS)


def test_a_rewritten_shard_is_read_again(tmp_path: Path) -> None:
    path, store, model = three(tmp_path / "a.tar"), tmp_path / "results.db", FakeModel(logit_scale=10.0)
    classified(path, store, model)
    write_tar(path, [(f"{n:04d}.png", image(name)) for n, name in enumerate(reversed(COLOURS))])
    assert classified(path, store, model) == list(reversed(COLOURS))


def test_a_uri_alone_leads_to_its_member_again(tmp_path: Path) -> None:
    folder = tmp_path / "a #1 b"
    folder.mkdir()
    path = three(folder / "shard #2.tar")
    for item in items(path):
        assert member(item.uri) == item.__class__(uri=item.uri, path=path, span=item.span)
        assert colour(member(item.uri) or item) == item.metadata["colour"]
    assert member(f"{path}#9999.png") is None
    assert member(str(path)) is None
    assert member(f"{tmp_path / 'gone.tar'}#0000.png") is None
    (tmp_path / "photo.jpg").write_bytes(image("red", "JPEG"))
    assert member(f"{tmp_path / 'photo.jpg'}#0000.png") is None


def test_stated_values_of_samples_are_read_or_reported_and_the_whole_shard_decides_on_dates(tmp_path: Path) -> None:
    about = [{"timestamp": "03/04/2024 10:00"}, {"timestamp": "31/12/2024 10:00"}, {"timestamp": "s.d."}]
    members: list[tuple[str, bytes | str]] = []
    for number, cells in enumerate(about):
        members += [(f"{number}.jpg", image("red")), (f"{number}.json", json.dumps(cells).encode())]
    findings = Findings()
    path = write_tar(tmp_path / "a.tar", members)
    found = [
        one for one in ShardsSource().items(str(path), ListingOptions(findings=findings)) if isinstance(one, MediaItem)
    ]
    assert [item.captured_at for item in found] == [datetime(2024, 4, 3, 10), datetime(2024, 12, 31, 10), None]
    assert found[2].unread == {"captured_at"}
    (line,) = findings.lines()
    assert "2.jpg: 's.d.'" in line


def test_a_folder_of_published_tars_is_listed_with_the_folders_below_it(tmp_path: Path) -> None:
    for split in ("val", "train"):
        (tmp_path / split).mkdir()
        write_tar(tmp_path / split / "shard-000000.tar", [("a.jpg", image("red")), ("a.sci.txt", b"a photo of A b.")])
    (tmp_path / "train" / "shard-000001.tar").write_bytes(b"<html>404 Not Found</html>" * 40)
    assert [item.uri.removeprefix(f"{tmp_path}/") for item in items(tmp_path)] == [
        "train/shard-000000.tar#a.jpg",
        "val/shard-000000.tar#a.jpg",
    ]
    assert {trouble.uri.partition("#")[0].rpartition("/")[2] for trouble in troubles(tmp_path)} == {"shard-000001.tar"}
    (tmp_path / "photo.jpg").write_bytes(image("red"))
    assert not ShardsSource().takes(str(tmp_path)), "a folder of photographs with tars among them"
