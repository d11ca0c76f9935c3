"""The example detector on real trail-camera photographs, and how often each photograph is opened and decoded."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bioclip_core.images import decoding
from bioclip_plugin import Answer, Session, create_plugin_manager
from bioclip_plugin.plugin_api import BioclipPluginManager
from bioclip_plugin.testing import FakeModel

EXAMPLE = Path(__file__).parents[2] / "docs/examples/bioclip-border-detector/bioclip_border_detector/__init__.py"


@pytest.fixture
def plugins() -> BioclipPluginManager:
    spec = importlib.util.spec_from_file_location("bioclip_border_detector", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    manager.register(module)
    return manager


def answered(plugins: BioclipPluginManager, paths: list[Path], **options: Any) -> dict[str, Answer]:
    """Return the answers of a Session with the example detector, by the stem of the file."""
    options = {"model": "fake", "labels": ("a red fox", "a green fox"), "rank": "label", **options}
    with Session(plugins=plugins, detector="border", **options) as session:
        answers = session.classify_stream([str(path) for path in paths])
        return {Path(answer.item.uri).stem: answer for answer in answers}


@pytest.mark.shared_data
def test_boxes_lie_on_the_upright_photograph_in_every_mode_and_the_truncated_one_is_a_failure(
    plugins: BioclipPluginManager,
) -> None:
    folder = Path(os.environ["BIOCLIP_DATA"]) / "data" / "camera_trap_samples"
    answers = answered(plugins, sorted(folder.glob("*.jpg")))
    failed = {name: answer.failure.stage for name, answer in answers.items() if answer.failure}
    assert failed == {"african_elephants_truncated_file": "decode"}
    blank = {name for name, answer in answers.items() if answer.failure is None and not answer.regions}
    assert blank == {"blank", "blank2", "blank3"}

    def box(name: str) -> list[float]:
        (region,) = answers[name].regions
        assert region.region is not None
        assert (region.region.category, region.region.detector) == ("animal", "border")
        assert region.candidates
        return region.region.xywh

    elephants = box("african_elephants")
    # The same photograph, stored on its side with an EXIF orientation, and as CMYK: the same box, within the detector's cells.
    for name in ("african_elephants_with_exif_orientation", "african_elephants_cmyk"):
        assert np.allclose(box(name), elephants, atol=1 / 24)
    x, y, w, h = box("ocelot")  # on the left, in the lower half, around the whole animal
    assert x < 0.1
    assert y < 0.55
    assert x + w > 0.5
    assert y + h > 0.8
    for name in ("african_elephants_bw", "american_black_bear", "domestic_cattle", "domestic_dog", "human", "vehicle"):
        assert 0 < box(name)[2] <= 1


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Numbers of files that were read, and of JPEG streams that were decoded."""
    counts: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            counts[name if name == "read" else str(arguments[1])] += 1
            return function(*arguments, **more)

        return call

    monkeypatch.setattr(decoding, "read_bytes", counting("read", decoding.read_bytes))
    monkeypatch.setattr(Image, "_getdecoder", counting("decode", Image._getdecoder))
    return counts


def test_each_photograph_is_read_and_decoded_once_and_not_again_for_another_threshold(
    plugins: BioclipPluginManager, tmp_path: Path, counted: Counter[str]
) -> None:
    rng = np.random.default_rng(5)
    paths = []
    for number in range(12):
        pixels = rng.integers(70, 90, (300, 400, 3), dtype=np.uint8)
        if number % 3:  # every third one is blank
            pixels[100:200, 120:260] = (230, 20, 20)
        paths.append(tmp_path / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    store = tmp_path / "r.db"
    answers = answered(plugins, paths, store=store)
    assert [len(answer.regions) for answer in answers.values()] == [0, 1, 1] * 4
    assert (counted["read"], counted["jpeg"]) == (12, 12)
    assert answered(plugins, paths, store=store, detection_threshold=0.5).keys() == answers.keys()
    assert (counted["read"], counted["jpeg"]) == (12, 12)
