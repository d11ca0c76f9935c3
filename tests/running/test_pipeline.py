"""The pipeline through a Session with a fake model: order, failures, resuming, and work that each layer saves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from bioclip_core.device import PRECISION_VARIABLE
from bioclip_core.errors import ModelError
from bioclip_core.findings import Findings
from bioclip_plugin import MediaItem, Region, Session, create_plugin_manager
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items import metadata
from bioclip_plugin.items.media import item_of
from bioclip_plugin.items.strange_times import AHEAD, BEFORE
from bioclip_plugin.running import reading
from bioclip_plugin.testing import FakeModel

LABELS = ("a red fish", "a green fish", "a blue fish")


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(logit_scale=10.0)


@pytest.fixture
def manager(model: FakeModel) -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(model)
    return manager


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Twelve images, red, green and blue in turn, all with different bytes."""
    folder = tmp_path / "images"
    folder.mkdir()
    paths = []
    for n in range(12):
        colour = [0, 0, 0]
        colour[n % 3] = 255 - n // 3
        paths.append(folder / f"{n:02}.png")
        Image.new("RGB", (20, 10), tuple(colour)).save(paths[-1])
    return paths


def session(manager: BioclipPluginManager, store: Path | None = None, **options: Any) -> Session:
    values: dict[str, Any] = {"model": "fake", "labels": LABELS, "batch_size": 4, **options}
    return Session(store=store, plugins=manager, **values)


def names(answers: Iterator[Any] | list[Any]) -> list[str | None]:
    return [answer.best.name if answer.best else None for answer in answers]


EXPECTED = ["a red fish", "a green fish", "a blue fish"] * 4


def test_answers_come_in_input_order_with_and_without_a_store(
    manager: BioclipPluginManager, images: list[Path], tmp_path: Path
) -> None:
    with session(manager) as nothing_kept, session(manager, tmp_path / "r.db") as kept:
        assert names(nothing_kept.classify_stream(images)) == EXPECTED
        assert names(kept.classify_stream(images)) == EXPECTED


def test_a_probability_is_the_softmax_that_the_colours_give(manager: BioclipPluginManager, images: list[Path]) -> None:
    with session(manager) as s:
        answer = s.classify(images[0])  # the cosines are 1, 0, 0 at scale 10
    best = answer.best
    assert best is not None
    # exp(10) / (exp(10) + 2); features are rounded to float16, where 1 and 0 are exact
    assert best.probability == pytest.approx(0.99990921, abs=1e-7)
    assert answer.consensus is not None
    assert answer.consensus.name == "a red fish"


def test_a_bad_file_is_an_answer_with_a_failure_and_the_others_are_answered(
    manager: BioclipPluginManager, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("I am no image")
    listed = [images[0], tmp_path / "empty.jpg", images[1], tmp_path / "gone.jpg", tmp_path / "text.jpg", images[2]]
    with session(manager, tmp_path / "r.db") as s:
        answers = list(s.classify_stream(listed))
        assert s.store is not None
        summary = s.store.summary(s.store.run())
    assert names(answers) == ["a red fish", None, "a green fish", None, None, "a blue fish"]
    assert [a.failure.stage for a in answers if a.failure] == ["read", "read", "decode"]
    assert "0 bytes" in str(answers[1].failure)
    assert (summary.listed, summary.done, summary.failed) == (6, 3, 3)


def test_a_fault_of_ours_in_reading_one_item_is_its_failure_and_the_others_are_answered(
    manager: BioclipPluginManager, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")

    def with_metadata(item: MediaItem, _data: bytes) -> MediaItem:
        faults = {"01.png": IndexError("index out of range"), "02.png": MemoryError(), "03.png": ModelError("gone")}
        if fault := faults.get(Path(item.uri).name):
            raise fault
        return item

    monkeypatch.setattr(metadata, "with_metadata", with_metadata)
    with session(manager, tmp_path / "r.db") as s:
        answers = list(s.classify_stream([tmp_path / "cut.jpg", *images[:6]]))
    assert names(answers) == [None, "a red fish", None, None, None, "a green fish", "a blue fish"]
    reasons = [a.failure.reason for a in answers if a.failure]
    assert re.sub(r":\d+\)", ":1)", reasons[1]) == (
        "the file cannot be read: IndexError (bioclip_plugin.running.reading:1); please report it"
    )
    assert reasons[2:] == ["there is not enough memory to decode it", "gone"]


def test_a_failed_file_is_retried_once_it_is_mended(
    manager: BioclipPluginManager, images: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(images[0].read_bytes()[:40])
    with session(manager, tmp_path / "r.db") as s:
        assert s.classify(broken).failure is not None
        broken.write_bytes(images[0].read_bytes())
        assert names([s.classify(broken)]) == ["a red fish"]


def test_done_items_are_answered_from_the_store_without_the_model(
    manager: BioclipPluginManager, model: FakeModel, images: list[Path], tmp_path: Path
) -> None:
    with session(manager, tmp_path / "r.db") as s:
        first = [a.as_dicts() for a in s.classify_stream(images)]
    seen = model.encoder.images_encoded
    with session(manager, tmp_path / "r.db") as s:
        again = [a.as_dicts() for a in s.classify_stream(images)]
        assert not s.engine.is_computing
    assert model.encoder.images_encoded == seen == 12
    assert again == first


def test_other_labels_and_another_threshold_open_no_image_even_when_the_images_are_gone(
    manager: BioclipPluginManager, model: FakeModel, images: list[Path], tmp_path: Path
) -> None:
    with session(manager, tmp_path / "r.db") as s:
        list(s.classify_stream(images))
    images[0].parent.rename(tmp_path / "moved")
    with session(manager, tmp_path / "r.db", labels=("a red bird", "a blue bird")) as s:
        other = list(s.classify_stream(images))
    with session(manager, tmp_path / "r.db", threshold=0.99995) as s:
        strict = list(s.classify_stream(images))
        assert s.store is not None
        assert s.store.verify(s.store.run()).problems == []
    assert model.encoder.images_encoded == 12
    assert names(other)[0] == "a red bird"
    assert names(other)[2] == "a blue bird"
    assert names(strict) == EXPECTED
    assert strict[0].consensus is None  # 0.99991 is below the threshold


def test_files_with_equal_bytes_are_encoded_once_and_each_has_its_own_answer(
    manager: BioclipPluginManager, model: FakeModel, images: list[Path], tmp_path: Path
) -> None:
    copies = [tmp_path / f"copy{n}.png" for n in range(9)]
    for copy in copies:
        copy.write_bytes(images[0].read_bytes())
    with session(manager, tmp_path / "r.db") as s:
        answers = list(s.classify_stream([*copies, images[1]]))
        assert s.store is not None
        summary = s.store.summary(s.store.run())
    assert model.encoder.images_encoded == 2
    assert names(answers) == ["a red fish"] * 9 + ["a green fish"]
    assert (summary.listed, summary.done) == (10, 10)


def test_an_image_that_is_listed_twice_is_one_row_and_two_answers(
    manager: BioclipPluginManager, images: list[Path], tmp_path: Path
) -> None:
    with session(manager, tmp_path / "r.db") as s:
        answers = list(s.classify_stream([*images, images[0], *images]))
        assert s.store is not None
        summary = s.store.summary(s.store.run())
    assert names(answers) == [*EXPECTED, "a red fish", *EXPECTED]
    assert summary.listed == 12


def test_a_changed_file_is_classified_again(manager: BioclipPluginManager, images: list[Path], tmp_path: Path) -> None:
    with session(manager, tmp_path / "r.db") as s:
        list(s.classify_stream(images))
    images[0].write_bytes(images[2].read_bytes() + b"\0")
    os.utime(images[0], ns=(0, 1))
    with session(manager, tmp_path / "r.db") as s:
        assert names(s.classify_stream(images[:1])) == ["a blue fish"]


def taken_at(path: Path, moment: str, offset: str | None = None) -> MediaItem:
    """Return an image with this camera time and, optionally, its offset."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: moment, **({0x9011: offset} if offset else {})})
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path, exif=exif)
    return item_of(path)


def test_times_without_an_offset_are_of_the_zone_that_the_listing_was_given(
    manager: BioclipPluginManager, tmp_path: Path
) -> None:
    summer, winter = (taken_at(tmp_path / f"{n}.jpg", f"2014:{n:02}:26 14:21:04") for n in (7, 12))
    elsewhere = taken_at(tmp_path / "e.jpg", "2014:07:26 14:21:04", "-03:00")
    stated = replace(taken_at(tmp_path / "s.jpg", "2014:07:26 14:21:04"), captured_at=datetime(2020, 7, 1, 12))
    with session(manager, tmp_path / "r.db") as s:
        run = s.begin_run(["files"], ListingOptions(time_zone="Europe/Brussels"))
        answers = list(s.pipeline(run).answers([summer, winter, elsewhere, stated]))
        assert s.store is not None
        stored = [one.item.captured_at for one in s.store.items_of(run)]
    assert [moment and moment.isoformat() for moment in stored] == [
        "2014-07-26T14:21:04+02:00", "2014-12-26T14:21:04+01:00", "2014-07-26T14:21:04-03:00", "2020-07-01T12:00:00+02:00"
    ]  # fmt: skip
    assert [answer.item.captured_at for answer in answers] == stored


def test_another_zone_leaves_stored_times_unchanged(manager: BioclipPluginManager, tmp_path: Path) -> None:
    item = taken_at(tmp_path / "a.jpg", "2014:07:26 14:21:04")
    for zone in ("Europe/Brussels", "Africa/Nairobi", None):
        with session(manager, tmp_path / "r.db") as s:
            run = s.begin_run(["files"], ListingOptions(time_zone=zone))
            (answer,) = s.pipeline(run).answers([item])
            assert s.store is not None
            (stored,) = s.store.items_of(run)
        for known in (answer.item, stored.item):
            assert known.captured_at is not None
            assert known.captured_at.isoformat() == "2014-07-26T14:21:04+02:00"


def test_a_stated_time_that_cannot_be_read_is_not_replaced_by_the_cameras_of_this_run_or_an_earlier_one(
    manager: BioclipPluginManager, tmp_path: Path
) -> None:
    item = taken_at(tmp_path / "a.jpg", "2014:07:26 14:21:04")
    closed = (
        replace(item, unread=frozenset({"captured_at"})),
        replace(item, within=(date(1893, 1, 1), date(1893, 12, 31))),
    )
    for number, (statements, expected) in enumerate(
        [((item, closed[0]), [True, False]), ((closed[1], item), [False, True])]
    ):
        stored, answered = [], []
        for statement in statements:
            with session(manager, tmp_path / f"{number}.db") as s:
                run = s.begin_run(["files"], ListingOptions())
                (answer,) = s.pipeline(run, rehash=True).answers([statement])
                assert s.store is not None
                (kept,) = s.store.items_of(run)
            answered.append(answer.item.captured_at is not None)
            stored.append(kept.item.captured_at is not None)
        assert answered == stored == expected


def test_a_camera_whose_clock_is_wrong_is_reported(manager: BioclipPluginManager, tmp_path: Path) -> None:
    times = ("1980:01:01 00:00:00", "2014:07:26 14:21:04", "2999:01:01 00:00:00")
    items = [taken_at(tmp_path / f"{n}.jpg", time) for n, time in enumerate(times)]
    stated = replace(taken_at(tmp_path / "s.jpg", times[0]), captured_at=datetime(1893, 5, 12, 10))
    findings = Findings()
    with session(manager, tmp_path / "r.db") as s:
        run = s.begin_run(["files"], ListingOptions())
        answers = list(s.pipeline(run, findings=findings).answers([*items, stated]))
    assert [answer.item.captured_at and answer.item.captured_at.year for answer in answers] == [1980, 2014, 2999, 1893]
    assert findings.count(BEFORE) == findings.count(AHEAD) == 1
    assert f"(the first: {items[0].uri}: 1980-01-01 00:00:00)" in next(findings.lines())


def test_rehash_finds_a_change_that_size_and_time_hide_and_encodes_nothing_else_again(
    manager: BioclipPluginManager, model: FakeModel, tmp_path: Path
) -> None:
    files = [tmp_path / "a.ppm", tmp_path / "b.ppm"]
    for file, colour in zip(files, [(255, 0, 0), (0, 255, 0)], strict=True):
        Image.new("RGB", (8, 8), colour).save(file)
    with session(manager, tmp_path / "r.db") as s:
        run = s.begin_run(["files"])
        assert names(s.pipeline(run).answers(map(item_of, files))) == ["a red fish", "a green fish"]
        stat = files[0].stat()
        Image.new("RGB", (8, 8), (0, 0, 255)).save(files[0])  # PPM: the same number of bytes as before
        os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert names(s.pipeline(run).answers(map(item_of, files))) == ["a red fish", "a green fish"]
        assert names(s.pipeline(run, rehash=True).answers(map(item_of, files))) == ["a blue fish", "a green fish"]
        assert s.store is not None
        assert s.store.verify(run).problems == []
    assert model.encoder.images_encoded == 3


def test_a_picture_that_a_host_opened_with_pillow_is_read_right_and_not_changed(
    manager: BioclipPluginManager, tmp_path: Path
) -> None:
    red = np.zeros((3, 16, 20), np.uint16)
    red[0], red[1] = 0xFF00, 0x00FF  # bytes of which every second one is another colour
    tifffile.imwrite(tmp_path / "a.tif", red, photometric="rgb", planarconfig="separate", metadata=None)
    with session(manager) as s, Image.open(tmp_path / "a.tif") as image:
        assert names([s.classify(image)]) == ["a red fish"]
        assert np.asarray(image)[..., 0].mean() < 200  # Pillow's own reading


def test_results_of_a_file_that_an_earlier_version_misread_are_made_again_and_no_others(
    manager: BioclipPluginManager, model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planar, plain = tmp_path / "planar.tif", tmp_path / "plain.tif"
    red = np.zeros((3, 16, 16), np.uint16)
    red[0] = 65535
    tifffile.imwrite(planar, red, photometric="rgb", planarconfig="separate", metadata=None)
    Image.new("RGB", (16, 16), (0, 255, 0)).save(plain)
    blue = [np.full((model.encoder.preprocessing.size,) * 2 + (3,), (0, 0, 255), np.uint8)]
    with session(manager, tmp_path / "r.db") as s:
        run = s.begin_run(["files"])
        with monkeypatch.context() as earlier:
            earlier.setattr(reading, "is_read_by_us", lambda *_: False)
            right = reading.decode_regions
            earlier.setattr(reading, "decode_regions", lambda data, boxes, *rest, **named: (
                blue if data == planar.read_bytes() else right(data, boxes, *rest, **named)
            ))  # fmt: skip
            items = [item_of(planar), item_of(plain)]
            assert names(s.pipeline(run).answers(items)) == ["a blue fish", "a green fish"]
        before, findings = model.encoder.images_encoded, Findings()
        for _ in range(2):  # the second time from the store
            assert names(s.pipeline(run, findings=findings).answers(items)) == ["a red fish", "a green fish"]
            assert findings.count("files were misread by an earlier version; their results are made again") == 1
            assert model.encoder.images_encoded == before + 1
        assert s.store is not None
        assert s.store.verify(run).problems == []


def test_closing_the_generator_keeps_committed_answers_and_a_second_call_does_the_rest(
    manager: BioclipPluginManager, model: FakeModel, images: list[Path], tmp_path: Path
) -> None:
    with session(manager, tmp_path / "r.db") as s:
        stream = s.classify_stream(images)
        next(stream)
        stream.close()
        assert s.store is not None
        committed = s.store.summary(s.store.run()).done
        assert 4 <= committed <= 12
    seen = model.encoder.images_encoded
    with session(manager, tmp_path / "r.db") as s:
        assert names(s.classify_stream(images)) == EXPECTED
    assert model.encoder.images_encoded - seen <= 12 - committed


def test_each_region_has_an_answer_of_its_own(manager: BioclipPluginManager, tmp_path: Path) -> None:
    half = Image.new("RGB", (40, 20), (255, 0, 0))
    half.paste((0, 0, 255), (20, 0, 40, 20))
    half.save(tmp_path / "half.png")
    left, right = Region(0, 0, 0.5, 1), Region(0.5, 0, 0.5, 1)
    item = MediaItem(str(tmp_path / "half.png"), regions=(left, right))
    with session(manager, tmp_path / "r.db") as s:
        direct = s.classify(item)
        stored = s.classify(item)
    for answer in (direct, stored):
        assert [region.candidates[0].name for region in answer.regions] == ["a red fish", "a blue fish"]
        assert [region.region for region in answer.regions] == [left, right]


def test_memory_stays_bounded_by_reading_only_so_far_ahead(manager: BioclipPluginManager, images: list[Path]) -> None:
    """If the consumer stops, reading must stop too: at most two batches and twice the number of threads are read ahead."""
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield images[taken % 12]

    with session(manager, workers=2) as s:
        stream = s.classify_stream(endless())
        for _ in range(8):
            next(stream)
        stream.close()
    assert taken <= 8 + 4 * 4 + 2 * 4 + 2 * 2 + 4


def test_an_observer_that_fails_does_not_stop_the_run(
    manager: BioclipPluginManager, images: list[Path], tmp_path: Path
) -> None:
    from bioclip_plugin import hookimpl

    class Failing:
        @hookimpl
        def answers_stored(self, run: Any, answers: Any) -> None:
            raise RuntimeError("the observer's disk is full")

    manager.register(Failing())
    with session(manager, tmp_path / "r.db") as s:
        assert names(s.classify_stream(images)) == EXPECTED


@pytest.mark.parametrize(("recorded", "preset"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_the_recorded_precision_is_kept_for_a_model_in_a_store(
    recorded: str,
    preset: str,
    manager: BioclipPluginManager,
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PRECISION_VARIABLE, preset)
    with session(manager, tmp_path / "r.db", precision=recorded) as s:
        list(s.classify_stream(images))
    with session(manager, tmp_path / "r.db") as s:
        assert s.engine.precision == recorded
        assert "recorded" in s.engine.compute.reason
    with session(manager, tmp_path / "r.db", precision=preset) as s:
        assert (s.engine.precision, s.engine.compute.reason) == (preset, "as requested")


@pytest.mark.parametrize("preset", ["fp32", "bf16"])
def test_a_new_store_records_the_precision_of_the_environment(
    preset: str, manager: BioclipPluginManager, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PRECISION_VARIABLE, preset)
    with session(manager, tmp_path / "r.db") as s:
        list(s.classify_stream(images))
        assert s.engine.compute.reason == f"{PRECISION_VARIABLE} is set"
    monkeypatch.delenv(PRECISION_VARIABLE)
    with session(manager, tmp_path / "r.db") as s:
        assert s.engine.precision == preset
