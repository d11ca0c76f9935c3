"""A detector inside the pipeline beside the two-step way: the same detector to a MegaDetector file, then ``classify`` of that file.

    pytest benchmarks/bench_detector.py -s --benchmark-disable-gc

``BENCH_DETECTOR_PHOTOS`` sets the number of photographs (40), which are copies of a few with other bytes at their end. The
peer is a loop as in MegaDetector's own batch program: it opens, decodes and turns one photograph after the other and asks the
detector. Both sides begin with an empty store, and each ends with stored answers.

The detector is fake and costs the same on both sides: it waits, as a program waits for an accelerator, or it computes on the
processor. Of 20 photographs, 8 have an animal, 1 a person, 1 a box below the threshold, and 10 are blank.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures
from benchmarks.pairs import beside_peer
from benchmarks.photos import write_photos
from bioclip_plugin import Session, create_plugin_manager, hookimpl
from bioclip_plugin.plugin_api import Detection

PHOTOS = int(os.environ.get("BENCH_DETECTOR_PHOTOS", "40"))
PAIRS = 2 if fixtures.QUICK else 3
ORIGINALS = 20
SIZES = {"4 megapixels": (2304, 1728)} | ({"12 megapixels": fixtures.LARGE} if PHOTOS >= 100 else {})  # minutes for 100
WAITS = [True, False] if PHOTOS >= 100 else [True]
WAIT_S = 0.030
"""Seconds per photograph of an accelerator; MegaDetector's documentation has 10 to 60 images/s for recent ones."""
PRODUCT = 1024
PRODUCTS = 8
"""Matrix products per photograph of a small detector on a processor: 17·10⁹ operations, as a YOLO of 640 pixels."""
TARGET = 1.3
_NUMBERS = {"animal": "1", "person": "2"}


class FakeDetector:
    """Boxes by the mean colour of a photograph, at a fixed cost per photograph."""

    name, version, side = "fake", "1", 1280

    def __init__(self, waits: bool) -> None:
        self.waits = waits
        self._matrix = np.ones((PRODUCT, PRODUCT), np.float32)

    def identity(self) -> Mapping[str, Any]:
        return {"fake": "1"}

    def detect(self, images: Sequence[NDArray[np.uint8]], device: str) -> list[list[Detection]]:  # noqa: ARG002
        if self.waits:
            time.sleep(WAIT_S * len(images))
        else:
            for _ in range(PRODUCTS * len(images)):
                self._matrix @ self._matrix
        return [self._boxes(image) for image in images]

    def _boxes(self, image: NDArray[np.uint8]) -> list[Detection]:
        kind = (
            int(image[::8, ::8].mean(axis=(0, 1)).sum() / 8) % 20
        )  # coarse, so that it hardly depends on the decoded size
        category = "person" if kind == 8 else "animal"
        confidence = 0.9 if kind < 9 else 0.1
        return [Detection(0.3, 0.3, 0.4, 0.4, category, confidence)] if kind < 10 else []

    @hookimpl
    def register_detectors(self, register: Any) -> None:
        register(self)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found = tmp_path_factory.mktemp("detector")
    yield found
    shutil.rmtree(found)  # gigabytes


@pytest.fixture(scope="module", params=list(SIZES))
def photographs(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[str, Path]]:
    """Size in words, and a folder of photographs that differ in their bytes."""
    size = SIZES[request.param]
    count = min(ORIGINALS, 8) if fixtures.QUICK else ORIGINALS
    originals = write_photos(fixtures.cache() / f"photos-{request.param.replace(' ', '-')}", count, *size)
    photos = folder / "photos"
    photos.mkdir()
    for number, original in zip(range(PHOTOS), itertools.cycle(originals), strict=False):
        (photos / f"{number:05d}.jpg").write_bytes(original.read_bytes() + number.to_bytes(8, "little"))
    yield request.param, photos
    shutil.rmtree(photos)


@pytest.mark.benchmark(group="detector")
@pytest.mark.parametrize("waits", WAITS, ids=["accelerator", "processor"][: len(WAITS)])
def test_detector_in_front(
    benchmark: BenchmarkFixture, photographs: tuple[str, Path], folder: Path, waits: bool
) -> None:
    size, photos = photographs
    detector = FakeDetector(waits)
    stores = (folder / f"store-{number}" for number in itertools.count())

    def inside(_: None) -> None:
        _classified(photos, next(stores), PHOTOS, detector)

    def in_two_steps(_: None) -> float:
        began = time.perf_counter()
        results = _detected(photos, detector)
        _classified(results, next(stores), PHOTOS, None)
        return time.perf_counter() - began

    beside_peer(
        benchmark,
        prepare=lambda: None,
        ours=inside,
        peer=in_two_steps,
        ours_items=PHOTOS,
        pairs=PAIRS,
        mark=TARGET if waits else None,  # on the same two cores there is nothing to overlap with
        note=f"the detector {f'waits {WAIT_S * 1000:.0f} ms' if waits else 'computes'} per photograph; half of them are blank",
    )
    benchmark.extra_info.update(
        title=f"detector in front, {PHOTOS:,} photos of {size}, {'accelerator' if waits else 'processor'}",
        peer_name="the same detector to a MegaDetector file, then classify",
    )


def _classified(address: Path, store: Path, count: int, detector: FakeDetector | None) -> None:
    """Classify a folder or a MegaDetector file into a new store, as the command does."""
    store.mkdir()
    manager = create_plugin_manager(installed=False)
    options: dict[str, Any] = {}
    if detector is not None:
        manager.register(detector)
        options = {"detector": detector.name}
    with (
        Session(model="demo", store=store / "results.db", plugins=manager, **options) as session,
        session.listing([str(address)]) as listing,
    ):
        run = session.begin_run([str(address)])
        answers = list(session.pipeline(run).answers(listing))
    assert len(answers) == count
    assert all(answer.failure is None for answer in answers)
    shutil.rmtree(store)


def _detected(photos: Path, detector: FakeDetector) -> Path:
    """Write a MegaDetector file of a folder: one photograph after the other."""
    images = []
    for path in sorted(photos.iterdir()):
        with Image.open(path) as opened:
            image = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        found = [
            {"category": _NUMBERS[box.category], "conf": box.confidence, "bbox": list(box[:4])}
            for box in detector.detect([image], "cpu")[0]
        ]
        images.append({"file": f"{photos.name}/{path.name}", "detections": found})
    info = {"format_version": "1.4", "detector": detector.name}
    categories = {number: word for word, number in _NUMBERS.items()}
    results = photos.parent / "md.json"
    content = {"info": info, "detection_categories": categories, "images": images}
    results.write_text(json.dumps(content))
    return results
