"""Invented photographs for benchmarks: smooth shapes, texture and sensor noise, the same on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

JPEG_QUALITY = 88
NOISE_PX = 512  # side of the tile of sensor noise that is repeated over a photo


def photo(seed: int, width: int, height: int) -> Image.Image:
    """Make one RGB photograph of ``width`` × ``height`` pixels: a background of several scales and a few coloured subjects."""
    rng = np.random.default_rng([20, seed])
    # Detail ends at half the resolution, as with a real lens; noise is added at full resolution.
    half = (max(width // 2, 1), max(height // 2, 1))
    scene = _octaves(rng, half, base=_colour(rng), amplitude=rng.uniform(25, 70), finest=half[0])
    for _ in range(int(rng.integers(1, 4))):
        subject = _octaves(rng, half, base=_colour(rng), amplitude=rng.uniform(30, 80), finest=half[0])
        scene = Image.composite(subject, scene, _mask(rng, half))
    return _with_noise(rng, scene.resize((width, height), Image.Resampling.BICUBIC))


def write_photos(folder: Path, count: int, width: int, height: int, *, first_seed: int = 0) -> list[Path]:
    """Write ``count`` JPEG files to ``folder``, and keep existing ones."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo_{first_seed + index:05d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        if not path.exists():
            part = path.with_suffix(".part")
            photo(first_seed + index, width, height).save(part, "JPEG", quality=JPEG_QUALITY)
            part.replace(path)
    return paths


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.uniform(20, 235, size=3)


def _octaves(
    rng: np.random.Generator, size: tuple[int, int], *, base: NDArray[np.float64], amplitude: float, finest: int
) -> Image.Image:
    """Make noise at several scales whose strength falls with frequency, as in natural images (amplitude ~ 1/frequency)."""
    total = np.broadcast_to(base, (size[1], size[0], 3)).astype(np.float32)
    cells, weight = 3, 1.0
    while cells <= finest:
        rows = max(2, round(cells * size[1] / size[0]))
        grid = rng.integers(0, 256, size=(rows, cells, 3), dtype=np.uint8)
        layer = np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
        total += (layer - 127.5) * (amplitude * weight / 73.6)  # 73.6: standard deviation of 0 … 255
        cells, weight = cells * 3, weight * 0.6
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def _mask(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw a soft-edged ellipse or polygon at a random place."""
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    cx, cy = rng.uniform(0.2, 0.8, size=2) * size
    rx, ry = rng.uniform(0.1, 0.35, size=2) * size
    if rng.random() < 0.5:
        draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=255)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, size=int(rng.integers(3, 9))))
        draw.polygon([(cx + rx * np.cos(a), cy + ry * np.sin(a)) for a in angles], fill=255)
    return mask.filter(ImageFilter.GaussianBlur(max(1.0, size[0] / 400)))


def _with_noise(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    tile = rng.normal(0.0, 7.0, size=(NOISE_PX, NOISE_PX, 1))
    rows, columns = -(-image.height // NOISE_PX), -(-image.width // NOISE_PX)
    noise = np.tile(np.round(tile).astype(np.int16), (rows, columns, 1))[: image.height, : image.width]
    return Image.fromarray(np.clip(np.asarray(image, dtype=np.int16) + noise, 0, 255).astype(np.uint8))
