"""The example detector of the docs: boxes on drawn scenes, under the three categories, and none where there is nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bioclip_plugin import create_plugin_manager

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "bioclip-border-detector" / "bioclip_border_detector"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bioclip_border_detector", EXAMPLE / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def detector(module: ModuleType) -> Any:
    """The detector as the product has it, registered through the hook."""
    manager = create_plugin_manager(installed=False)
    manager.register(module)
    return manager.detectors()["border"]


def scene(height: int = 240, width: int = 320, **box: int) -> NDArray[np.uint8]:
    """Draw grass with noise, and a bright body in it: top, left, bottom, right in pixels."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(80, 100, (height, width, 3), dtype=np.uint8)
    if box:
        pixels[box["top"] : box["bottom"], box["left"] : box["right"]] = 220
    return pixels


@pytest.mark.parametrize(
    ("category", "box"),
    [
        ("animal", {"top": 90, "left": 100, "bottom": 160, "right": 200}),
        ("person", {"top": 50, "left": 140, "bottom": 190, "right": 180}),
        ("vehicle", {"top": 120, "left": 40, "bottom": 160, "right": 280}),
    ],
)
def test_it_draws_one_box_around_a_body_and_calls_it_by_its_shape(
    detector: Any, category: str, box: dict[str, int]
) -> None:
    ((found,),) = detector.detect([scene(**box)], "cpu")
    assert found.category == category
    assert 0.2 < found.confidence <= 1
    sides = (found.x * 320, found.y * 240, (found.x + found.w) * 320, (found.y + found.h) * 240)
    cell = 14  # pixels, a little more than 320 / 24
    assert np.allclose(sides, (box["left"], box["top"], box["right"], box["bottom"]), atol=cell)


def test_it_finds_nothing_in_grass_in_a_black_frame_and_in_images_of_a_few_pixels(detector: Any) -> None:
    images = [scene(), np.zeros((240, 320, 3), np.uint8), *(scene(n, m) for n in (1, 2, 7) for m in (1, 3, 30))]
    assert detector.detect(images, "cpu") == [[] for _ in images]


def test_the_module_has_the_thirty_lines_that_the_docs_promise() -> None:
    lines = (EXAMPLE / "__init__.py").read_text("utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith(('"""', "import ", "from "))]
    assert len(code) <= 30
