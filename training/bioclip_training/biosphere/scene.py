"""One photograph: a species in its surroundings, by day or under infrared, with the truth about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from bioclip_training.biosphere.bodies import outline
from bioclip_training.biosphere.coat import Placement, painted
from bioclip_training.biosphere.habitat import HABITATS, backdrop, foreground
from bioclip_training.biosphere.phylogeny import Species
from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import bounds

INFRARED_SHARE = 0.12
"""Share of scenes taken at night by infrared flash: grey, so that only shape and pattern distinguish species."""

SIZE = (1024, 768)
"""Width and height of a camera-trap scene in pixels."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A scene, and the truth about it."""

    image: Image.Image
    box: tuple[float, float, float, float]
    """The animal's left, top, width and height as shares of the picture."""
    habitat: str
    """A name of ``HABITATS``, or ``plate``."""
    infrared: bool
    life_stage: str
    sex: str


@dataclass(frozen=True, slots=True)
class Setting:
    """Place and time of a picture; a burst shares one."""

    habitat: int
    """An index of ``HABITATS``."""
    infrared: bool
    horizon: float
    """Height of the horizon: 0 is the top of the picture, 1 its foot."""
    brightness: float
    place_seed: int
    """Seed of the surroundings: equal places have equal seeds."""

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Setting:
        """Draw a setting, independently of the species."""
        return cls(
            habitat=int(rng.integers(len(HABITATS))),
            infrared=bool(rng.random() < INFRARED_SHARE),
            horizon=float(rng.uniform(0.22, 0.45)),
            brightness=float(rng.uniform(0.82, 1.15)),
            place_seed=int(rng.integers(2**31)),
        )


def photograph(
    species: Species,
    rng: np.random.Generator,
    size: tuple[int, int] = SIZE,
    *,
    setting: Setting | None = None,
    pose: Pose | None = None,
) -> Photograph:
    """Render a camera-trap scene of ``size`` (width, height) pixels.

    Setting and pose are drawn from ``rng`` unless they are given, as for a burst.
    """
    setting = setting or Setting.drawn(rng)
    pose = pose or Pose.drawn(rng)
    # Small pictures are drawn at twice their size, so that thin parts do not break up.
    factor = 2 if size[0] < 500 else 1
    canvas = (size[0] * factor, size[1] * factor)
    habitat = HABITATS[setting.habitat]
    picture = backdrop(habitat, setting.horizon, canvas, np.random.default_rng(setting.place_seed))
    if setting.infrared:  # the flash reaches the animal, but hardly the background
        picture = picture.point(lambda value: value * 0.5)
    animal, at, ground = _placed(species, pose, canvas, rng)
    _shadow(picture, at, ground, animal.width)
    picture.paste(animal, at, animal)
    foreground(picture, habitat, ground / canvas[1], float(rng.uniform(0.1, 1.0)), rng)
    picture = _exposed(picture, setting, rng).reduce(factor)
    return Photograph(picture, _box(animal, at, canvas), habitat.name, setting.infrared, pose.life_stage, pose.sex)


def plate(species: Species, rng: np.random.Generator, size: tuple[int, int] = SIZE) -> Photograph:
    """Render a specimen on a museum's plate: even light, a pale ground, a scale bar below."""
    pose = Pose.drawn(rng)
    picture = Image.new("RGB", size, (236, 233, 226))
    animal, _, _ = _placed(species, pose, size, rng)
    at = ((size[0] - animal.width) // 2, (size[1] - animal.height) // 2)
    picture.paste(animal, at, animal)
    bar = round(size[0] * 0.02)
    for step in range(5):
        box = (bar * (2 + step), size[1] - 2 * bar, bar * (3 + step), round(size[1] - 1.5 * bar))
        ImageDraw.Draw(picture).rectangle(box, fill=(20, 20, 20) if step % 2 == 0 else (250, 250, 250))
    return Photograph(picture, _box(animal, at, size), "plate", False, pose.life_stage, pose.sex)


def _placed(
    species: Species, pose: Pose, canvas: tuple[int, int], rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int], float]:
    """Return the painted animal cut to its outline, the pixel of its upper left corner, and the row of its feet."""
    width, height = canvas
    left, top, right, bottom = bounds(outline(species.traits, pose))
    share = float(rng.uniform(0.55, 0.85)) * (0.85 if pose.life_stage == "juvenile" else 1.0)
    # As wide as its share of the frame, unless it is tall; drawn twice as large, for smooth edges.
    scale = min(share * width / (right - left), 0.95 * share * width / (bottom - top), 0.82 * height / (bottom - top))
    margin, fine = 0.12 * (right - left), 2 * scale
    mirror = bool(rng.random() < 0.5)
    sheet = (round(fine * (right - left + 2 * margin)), round(fine * (bottom - top + 2 * margin)))
    across = right + margin if mirror else margin - left
    placement = Placement(fine, mirror, pose.lean, (fine * across, fine * (margin - top)))
    animal = painted(species.traits, pose, placement, sheet, rng)
    animal = animal.crop(animal.getbbox())
    animal = animal.resize((max(1, animal.width // 2), max(1, animal.height // 2)), Image.Resampling.BOX)
    ground = float(rng.uniform(0.78, 0.92)) * height
    x = round(max(0, width - animal.width) * float(rng.uniform(0.1, 0.9)))
    y = max(round(0.03 * height), round(ground - animal.height))
    return animal, (x, y), y + animal.height


def _shadow(picture: Image.Image, at: tuple[int, int], ground: float, length: int) -> None:
    blur = max(1, length // 40)
    edge = 3 * blur  # room for the blur to fade out in
    mask = Image.new("L", (length + 2 * edge, length // 6 + 2 * edge))
    ImageDraw.Draw(mask).ellipse((edge, edge, mask.width - edge, mask.height - edge), fill=110)
    mask = mask.filter(ImageFilter.GaussianBlur(blur))
    picture.paste((20, 18, 14), (at[0] - edge, round(ground - mask.height * 0.55)), mask)


def _exposed(picture: Image.Image, setting: Setting, rng: np.random.Generator) -> Image.Image:
    """Apply brightness, the fall-off of the flash at night, and grain that looks the same at any size."""
    width, height = picture.size
    pixels = np.asarray(picture, dtype=np.float32) * setting.brightness
    if setting.infrared:
        grey = pixels @ np.array([0.35, 0.45, 0.2], dtype=np.float32)
        y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        pixels = np.repeat((grey * (1.15 - 0.4 * (x**2 + y**2)))[:, :, None], 3, axis=2)
    grain = rng.normal(0, 5 if setting.infrared else 3, (192, 256)).astype(np.float32)
    pixels += np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.NEAREST))[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _box(animal: Image.Image, at: tuple[int, int], canvas: tuple[int, int]) -> tuple[float, float, float, float]:
    width, height = canvas
    return (at[0] / width, at[1] / height, animal.width / width, min(animal.height, height - at[1]) / height)
