"""A run over videos, pages, RAW and HEIF: stored by frame, with a failure per item, and without opening a file twice."""

from __future__ import annotations

import json
from pathlib import Path

import pillow_heif
import pytest
from opening_samples import coloured, cut, rgb_page, tiff_bytes, write_dng, write_video
from PIL import Image

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.opening import pages, raw, video
from bioclip_plugin.opening.frames import VideoFrames
from bioclip_plugin.store import Store
from bioclip_plugin.testing import FakeModel

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(logit_scale=10.0)


@pytest.fixture
def manager(model: FakeModel) -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(model)
    return manager


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with one file of each kind, beside the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("red\ngreen\nblue\n")
    folder = tmp_path / "media"
    folder.mkdir()
    write_video(folder / "a.mp4", 25, rate=10, says={"creation_time": "2021-05-31T08:25:38Z"})
    cut(write_video(tmp_path / "whole.mkv", 60, rate=10), folder / "b.mkv", 0.6)
    (folder / "c.avi").write_bytes(b"no video")
    (folder / "d.tif").write_bytes(tiff_bytes([rgb_page(coloured(colour)) for colour in (RED, GREEN, BLUE)]))
    write_dng(folder / "e.dng", coloured(GREEN, (64, 48)))
    exif = Image.Exif()
    exif[0x0110], exif[0x0132] = "Trail 1", "2020:01:02 03:04:05"
    pillow_heif.from_pillow(Image.fromarray(coloured(BLUE))).save(folder / "f.heic", exif=exif.tobytes())
    Image.new("RGB", (20, 20), RED).save(folder / "g.jpg")
    (folder / "h.nef").write_bytes(b"no raw")
    return folder


def classify(manager: BioclipPluginManager, *more: str) -> int:
    command = ["classify", "media", "--model", "fake", "--labels", "words.txt", "--store", "results.db", *more]
    return run(command, manager=manager)


def stored() -> dict[tuple[str, int], str]:
    """Return the best name or the failure of every item of the run."""
    with Store.open("results.db") as store:
        (begun,) = store.runs()
        found = {}
        for one in store.items_of(begun):
            name = Path(one.item.uri).name, one.item.frame
            if one.failure is not None:
                found[name] = f"{one.failure.stage}: {one.failure.reason}"
            else:
                best = max(one.regions[0].by_rank.items(), key=lambda pair: len(pair[1]))[1][0]
                found[name] = best.name
        return found


def test_every_frame_page_and_photograph_is_answered_and_each_damaged_one_is_a_failure(
    folder: Path, manager: BioclipPluginManager, model: FakeModel
) -> None:
    assert classify(manager) == 3
    found = stored()
    assert {name for name, _ in found} == {path.name for path in folder.iterdir()}
    assert [frame for name, frame in found if name == "a.mp4"] == [0, 10, 20]
    assert [found["d.tif", page] for page in range(3)] == ["red", "green", "blue"]
    assert (found["e.dng", 0], found["f.heic", 0], found["g.jpg", 0]) == ("green", "blue", "red")
    failures = {name: text for name, text in found.items() if ": " in text}
    assert sorted({name for name, _ in failures}) == ["b.mkv", "c.avi", "h.nef"]
    assert "truncated" in next(text for (name, _), text in failures.items() if name == "b.mkv")
    assert found["b.mkv", 10] in ("red", "green")
    assert "cannot be developed" in found["h.nef", 0]


def test_a_fault_of_ours_in_listing_or_opening_one_file_is_its_failure(
    folder: Path, manager: BioclipPluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a fault")

    for module, name in ((video, "_sampled"), (pages, "read_pages"), (raw, "open_raw")):
        monkeypatch.setattr(module, name, fails)
    assert classify(manager) == 3
    found = stored()
    for name in ("a.mp4", "d.tif", "e.dng"):
        assert "the file cannot be read: KeyError (bioclip_plugin.opening" in found[name, 0]
    assert (found["f.heic", 0], found["g.jpg", 0]) == ("blue", "red")


def test_a_second_run_opens_only_failed_items(
    folder: Path, manager: BioclipPluginManager, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    frame, develop = VideoFrames.frame, raw.open_raw
    monkeypatch.setattr(VideoFrames, "frame", lambda self, path, n: opened.append(path.name) or frame(self, path, n))
    monkeypatch.setattr(raw, "open_raw", lambda item, path: opened.append(path.name) or develop(item, path))
    classify(manager)
    assert {"a.mp4", "b.mkv", "e.dng", "h.nef"} <= set(opened)
    encoded, before = model.encoder.images_encoded, stored()
    opened.clear()
    assert classify(manager) == 3
    assert opened == ["h.nef"]
    assert model.encoder.images_encoded == encoded
    assert stored() == before


def test_frames_and_photographs_keep_their_moment_and_camera(folder: Path, manager: BioclipPluginManager) -> None:
    classify(manager)
    with Store.open("results.db") as store:
        (begun,) = store.runs()
        items = {(Path(one.item.uri).name, one.item.frame): one.item for one in store.items_of(begun)}
    assert str(items["a.mp4", 20].captured_at) == "2021-05-31 08:25:40+00:00"
    assert items["a.mp4", 20].metadata["frame_rate"] == 10
    assert str(items["e.dng", 0].captured_at) == "2021-05-31 08:25:38"
    assert items["e.dng", 0].metadata["camera_model"] == "Trail 1"
    assert str(items["f.heic", 0].captured_at) == "2020-01-02 03:04:05"


def test_more_frames_a_second_are_further_items_of_the_same_run(
    folder: Path, manager: BioclipPluginManager, model: FakeModel
) -> None:
    classify(manager)
    before = model.encoder.images_encoded
    classify(manager, "--frames-per-second", "2")
    assert [frame for name, frame in stored() if name == "a.mp4"] == [0, 10, 20, 5, 15]
    assert model.encoder.images_encoded > before


def test_a_frame_of_a_detectors_file_is_opened_by_its_number(
    folder: Path, manager: BioclipPluginManager, tmp_path: Path
) -> None:
    detection = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.3, 0.5, 0.5]}
    images = [
        {"file": "a.mp4", "frame_number": [7, 12], "detections": [{**detection, "frame_number": n} for n in (7, 12)]}
    ]
    results = {"info": {"format_version": "1.6"}, "detection_categories": {"1": "animal"}, "images": images}
    (folder / "md.json").write_text(json.dumps(results))
    command = ["classify", "media/md.json", "--model", "fake", "--labels", "words.txt", "--store", "results.db"]
    run(command, manager=manager)
    assert {frame for name, frame in stored() if name == "a.mp4"} >= {7, 12}
