"""Boxes of a checkpoint are those of the package's own detector, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint_bytes, of_package, picture, saved
from numpy.typing import NDArray

from bioclip_core.errors import ModelError
from bioclip_plugin.detectors import yolov5_model
from bioclip_plugin.detectors.yolov5_model import YoloModel


@pytest.fixture(scope="module")
def ours() -> YoloModel:
    return YoloModel(checkpoint_bytes(), "md.pt")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, theirs: Any) -> Iterator[None]:
    """Both work at 320 pixels, which is faster."""
    monkeypatch.setattr(type(theirs), "IMG_SIZE", 320)
    monkeypatch.setattr(yolov5_model, "SIDE", 320)
    return


def test_boxes_at_the_full_size_equal_those_of_the_package(theirs: Any, ours: YoloModel) -> None:
    image = picture(540, 960)
    found = ours.detect([image], "cpu")[0]
    assert found == of_package(theirs, image)
    assert len(found) > 5


SHAPES = [(240, 320), (768, 1024), (480, 270), (320, 320), (1, 1), (7, 3), (31, 4000), (4000, 31)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_boxes_equal_those_of_the_package(shape: tuple[int, int], theirs: Any, ours: YoloModel) -> None:
    image = picture(*shape)
    image.flags.writeable = False
    assert ours.detect([image], "cpu")[0] == of_package(theirs, image)


@pytest.mark.usefixtures("small")
def test_boxes_of_an_upright_view_equal_those_of_a_copy(theirs: Any, ours: YoloModel) -> None:
    turned = np.rot90(picture(200, 300))
    assert ours.detect([turned], "cpu")[0] == of_package(theirs, np.ascontiguousarray(turned))


@pytest.mark.usefixtures("small")
def test_boxes_of_a_batch_are_those_of_its_images_in_their_order(ours: YoloModel) -> None:
    images = [
        picture(*shape, seed) for seed, shape in enumerate([(240, 320), (320, 240), (240, 320), (480, 640), (50, 50)])
    ]
    together = ours.detect(images, "cpu")
    assert together == [ours.detect([image], "cpu")[0] for image in images]
    assert len({tuple(boxes) for boxes in together}) == len(images), "each image has boxes of its own"
    assert ours.detect([], "cpu") == []


@pytest.mark.usefixtures("small")
def test_images_of_one_letterboxed_shape_are_one_batch_of_limited_size(
    ours: YoloModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []

    def run(batch: NDArray[np.uint8]) -> Any:
        batches.append(batch.shape[:3])
        return original(batch)

    original = ours._run
    monkeypatch.setattr(ours, "_run", run)
    monkeypatch.setattr(ours, "_device", "cuda:0")
    monkeypatch.setattr(ours, "_model", ours._model)
    images = [picture(240, 320, seed) for seed in range(5)] + [picture(480, 640), picture(320, 240)]
    monkeypatch.setattr(yolov5_model, "_MOST_AT_ONCE", 3)
    monkeypatch.setattr("torch.Tensor.to", lambda tensor, _device: tensor)
    together = ours.detect(images, "cuda:0")
    assert batches == [(3, 256, 320), (3, 256, 320), (1, 320, 256)]
    monkeypatch.setattr(ours, "_device", "cpu")
    for boxes, image in zip(together, images, strict=True):
        single = ours.detect([image], "cpu")[0]
        assert len(boxes) == len(single)
        np.testing.assert_allclose([box[:4] for box in boxes], [box[:4] for box in single], atol=2 / 240)


@pytest.mark.usefixtures("small")
def test_a_strip_that_would_have_no_pixel_left_is_an_image_like_any_other(ours: YoloModel) -> None:
    for shape in ((1, 5000), (5000, 1)):
        assert all(0 <= box.x <= 1 and 0 <= box.y <= 1 for box in ours.detect([picture(*shape)], "cpu")[0])


@pytest.mark.usefixtures("small")
def test_only_boxes_above_the_packages_threshold_are_found_and_the_surest_first(ours: YoloModel) -> None:
    boxes = ours.detect([picture(240, 320)], "cpu")[0]
    sure = [box.confidence for box in boxes]
    assert sure == sorted(sure, reverse=True)
    assert min(sure) > 0.01
    assert {box.category for box in boxes} <= {"animal", "person", "vehicle"}


@pytest.mark.usefixtures("small")
def test_an_image_is_not_without_boxes_because_a_batch_took_long(
    ours: YoloModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``non_max_suppression`` gives up behind a limit of time; the images behind it would be blank."""
    images = [picture(240, 320, seed) for seed in range(3)]
    before = ours.detect(images, "cpu")
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr("yolov5.utils.general.time.time", lambda: float(next(clock)))
    assert ours.detect(images, "cpu") == before


def test_a_checkpoint_of_another_kind_is_refused_in_one_line(tmp_path: Path) -> None:
    import torch

    for data, reason in (
        (b"PK\x03\x04 not an archive", "is not a YOLOv5 checkpoint"),
        (saved({"weights": torch.zeros(3)}), "is not a YOLOv5 checkpoint"),
        (saved({"model": torch.nn.Linear(2, 2)}), "is not a YOLOv5 checkpoint"),
        (checkpoint_bytes(categories=80), "has 80 categories"),
    ):
        with pytest.raises(ModelError, match=reason) as refused:
            YoloModel(data, "other.pt")
        assert "\n" not in str(refused.value)
