"""Image files of a plan: drawn in processes, or made of other ones; the bytes depend on the seed alone."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from bioclip_training.biosphere import photograph, plate
from bioclip_training.biosphere.habitat import HABITATS, backdrop, foreground
from bioclip_training.biosphere.publishing.plan import Picture, Plan
from bioclip_training.biosphere.publishing.tree import Species, grow

_QUALITY = 88
_BATCH = 64


@dataclass(frozen=True, slots=True)
class _Task:
    seed: int
    folder: Path
    pictures: tuple[Picture, ...]


_species: tuple[Species, ...] = ()
"""The tree of a process that draws."""


def write_pictures(plan: Plan, folder: Path, *, processes: int, progress: Callable[[int], None]) -> None:
    """Write every picture that is not there yet; a file is whole or absent.

    Args:
        plan: names the pictures.
        folder: new, or of an interrupted call with the same plan.
        processes: number of processes that draw; 1: this one alone.
        progress: called with the number of pictures that are finished.
    """
    drawn = [picture for picture in plan.pictures if picture.base < 0]
    made = [picture for picture in plan.pictures if picture.base >= 0]
    size = len(plan.tree.species)
    if processes == 1:
        _begin(plan.seed, size)
        for tasks in (_tasks(plan, folder, drawn), _tasks(plan, folder, made)):
            for task in tasks:
                progress(_run(task))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (plan.seed, size)) as pool:
        for tasks in (_tasks(plan, folder, drawn), _tasks(plan, folder, made)):
            for done in pool.map(_run, tasks):
                progress(done)


def _tasks(plan: Plan, folder: Path, pictures: list[Picture]) -> Iterable[_Task]:
    by_number = plan.pictures
    for at in range(0, len(pictures), _BATCH):
        some = pictures[at : at + _BATCH]
        yield _Task(plan.seed, folder, tuple(one for picture in some for one in _with_base(picture, by_number)))


def _with_base(picture: Picture, by_number: list[Picture]) -> tuple[Picture, ...]:
    return (picture,) if picture.base < 0 else (by_number[picture.base], picture)


def _begin(seed: int, size: int) -> None:
    global _species  # noqa: PLW0603 - one tree per process, not one per picture
    _species = grow(seed, size).species


def _run(task: _Task) -> int:
    written = 0
    for at, picture in enumerate(task.pictures):
        target = task.folder / picture.path
        is_base = at + 1 < len(task.pictures) and task.pictures[at + 1].base == picture.number
        written += not is_base
        if is_base or target.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        base = b"" if picture.base < 0 else (task.folder / task.pictures[at - 1].path).read_bytes()
        draft = target.with_suffix(f"{picture.suffix}.part")
        draft.write_bytes(changed(picture, base) if base else drawn(picture, task.seed, _species))
        draft.replace(target)
    return written


def drawn(picture: Picture, seed: int, species: tuple[Species, ...]) -> bytes:
    """Return the file of a picture that is drawn."""
    rng = np.random.default_rng([seed, 30, picture.number])
    match picture.style:
        case "photo":
            image = photograph(species[picture.species].drawn, rng, picture.size).image
        case "plate":
            image = _specimen(plate(species[picture.species].drawn, rng, picture.size).image, rng, picture.turn)
        case "empty":
            image = _empty(rng, picture.size)
        case _:
            image = _blank(picture.size)
    return _encoded(image, "JPEG", quality=_QUALITY)


def changed(picture: Picture, base: bytes) -> bytes:
    """Return the file of a picture that is made of another one's file."""
    image = Image.open(io.BytesIO(base)).convert("RGB")
    width, height = image.size
    match picture.change:
        case "near_resized":
            size = (round(width * picture.amount), round(height * picture.amount))
            return _encoded(image.resize(size, Image.Resampling.LANCZOS), "JPEG", quality=_QUALITY)
        case "near_recompressed":
            return _encoded(image, "JPEG", quality=round(picture.amount))
        case "near_cropped":
            across, down = max(1, round(width * picture.amount)), max(1, round(height * picture.amount))
            return _encoded(image.crop((across, down, width - across, height - down)), "JPEG", quality=_QUALITY)
        case "near_brighter":
            return _encoded(ImageEnhance.Brightness(image).enhance(picture.amount), "JPEG", quality=_QUALITY)
        case _:
            if picture.suffix == ".png":
                return _encoded(image, "PNG")
            return _encoded(image, "WEBP", quality=round(picture.amount))


def spoilt(content: bytes, state: str) -> bytes:
    """Return what lies in the place of an image that cannot be read."""
    if state == "short":
        return content[: len(content) // 3]
    if state == "empty":
        return b""
    return b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>\n"


def _specimen(upright: Image.Image, rng: np.random.Generator, turn: float) -> Image.Image:
    """Return a plate as it is photographed: the specimen turned, the ground of some tone, light from one side, and grain.

    Drawings of one species differ less than specimens do; upright on one ground they would be copies of each other.
    """
    ground = upright.getpixel((0, 0))
    angle = float(rng.uniform(-turn, turn))
    pixels_HWC = np.asarray(upright.rotate(angle, Image.Resampling.BICUBIC, fillcolor=ground), dtype=np.float32)
    height, width = pixels_HWC.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    towards, fall = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.02, 0.12))
    light = float(rng.uniform(0.82, 1.04)) * (1 - fall * (x * np.cos(towards) + y * np.sin(towards)))
    tint = rng.uniform(0.94, 1.0, 3)
    pixels_HWC = pixels_HWC * light[..., None] * tint + rng.normal(0, 2.5, (height, width, 1))
    return Image.fromarray(np.clip(pixels_HWC, 0, 255).astype(np.uint8))


def _empty(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    habitat, horizon = HABITATS[int(rng.integers(len(HABITATS)))], float(rng.uniform(0.22, 0.45))
    canvas = (2 * size[0], 2 * size[1])
    picture = backdrop(habitat, horizon, canvas, rng)
    foreground(picture, habitat, float(rng.uniform(0.78, 0.92)), float(rng.uniform(0.1, 1.0)), rng)
    return picture.reduce(2)


def _blank(size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (214, 214, 214))
    for row in range(3):
        box = (size[0] // 5, size[1] * (3 + row) // 8, size[0] * (4 - row % 2) // 5, size[1] * (3 + row) // 8 + 4)
        ImageDraw.Draw(picture).rectangle(box, fill=(120, 120, 120))
    return picture


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
