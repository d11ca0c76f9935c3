"""A folder as camera traps leave it: a sub-folder per camera, bursts with EXIF dates and places, one corrupt file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_training.biosphere.phylogeny import Biosphere
from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.scene import SIZE, Setting, photograph

BURST = 3
"""Number of pictures that a passing animal triggers, a second apart."""

_ZONE = timezone(timedelta(hours=-3))
_SEA = (-34.5, -17.25)  # in the South Atlantic, far from any land: the places are as fictional as the animals


@dataclass(frozen=True, slots=True)
class SceneRecord:
    """The truth about one written picture."""

    path: str
    """Path relative to the folder, with forward slashes."""
    taxon: Taxon
    sequence: str
    """Burst that the picture belongs to."""
    deployment: str
    captured_at: datetime
    latitude: float
    """Degrees, north positive."""
    longitude: float
    """Degrees, east positive."""
    box: tuple[float, float, float, float]
    """The animal's left, top, width and height as shares of the picture."""
    habitat: str
    infrared: bool
    life_stage: str
    sex: str
    corrupt: bool
    """True if the file is cut off and cannot be decoded."""


@dataclass(frozen=True, slots=True)
class _Camera:
    name: str
    serial: str
    latitude: float
    longitude: float
    setting: Setting


def write_camera_trap(
    folder: Path,
    biosphere: Biosphere,
    *,
    images: int = 24,
    cameras: int = 2,
    seed: int = 7,
    size: tuple[int, int] = SIZE,
) -> list[SceneRecord]:
    """Render ``images`` pictures into ``folder``, in bursts of three, the last but one of them corrupt; equal seeds write equal files.

    Returns:
        One record per file, sorted by path.

    Raises:
        UsageError: for fewer than two images, or without a camera.
    """
    if images < 2 or cameras < 1:
        raise UsageError(
            f"a camera-trap folder of {images} images from {cameras} cameras: at least 2 images and 1 camera are needed"
        )
    records = []
    for number, (content, record) in enumerate(_shots(biosphere, images, cameras, seed, size)):
        corrupt = number == images - 2
        (folder / record.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / record.path).write_bytes(content[: len(content) // 3] if corrupt else content)
        records.append(replace(record, corrupt=corrupt))
    return sorted(records, key=lambda record: record.path)


def _shots(
    biosphere: Biosphere, images: int, cameras: int, seed: int, size: tuple[int, int]
) -> Iterator[tuple[bytes, SceneRecord]]:
    """Yield the file and the truth of each picture, burst after burst, the cameras in turn."""
    rng = np.random.default_rng([seed, 0])
    posts = [
        _Camera(
            f"CAM{index + 1:02d}",
            f"FICT{1000 + index}",
            round(_SEA[0] + float(rng.uniform(-0.05, 0.05)), 5),
            round(_SEA[1] + float(rng.uniform(-0.05, 0.05)), 5),
            Setting.drawn(rng),
        )
        for index in range(cameras)
    ]
    clocks = [datetime(2024, 3, 2, 5, 40, tzinfo=_ZONE) + timedelta(minutes=17 * index) for index in range(cameras)]
    taken = [0] * cameras
    for burst, first in enumerate(range(0, images, BURST)):
        post, camera = burst % cameras, posts[burst % cameras]
        clocks[post] += timedelta(minutes=int(rng.integers(40, 400)), seconds=int(rng.integers(60)))
        species = biosphere.species[int(rng.integers(len(biosphere.species)))]
        pose, infrared = Pose.drawn(rng), not 6 <= clocks[post].hour < 19
        setting = replace(camera.setting, infrared=infrared)
        for shot in range(min(BURST, images - first)):
            moved = replace(pose, stride=-pose.stride if shot % 2 else pose.stride)
            photo = photograph(
                species, np.random.default_rng([seed, 1, first + shot]), size, setting=setting, pose=moved
            )
            taken[post] += 1
            record = SceneRecord(
                f"{camera.name}/IMG_{taken[post]:04d}.JPG", species.taxon, f"{camera.name}-{burst:04d}", camera.name,
                clocks[post] + timedelta(seconds=shot), camera.latitude, camera.longitude, photo.box, photo.habitat, photo.infrared,
                photo.life_stage, photo.sex, corrupt=False,
            )  # fmt: skip
            yield _jpeg(photo.image, camera, record.captured_at), record


def _jpeg(image: Image.Image, camera: _Camera, when: datetime) -> bytes:
    """Return the picture as a JPEG with the EXIF that a camera trap writes."""
    taken, offset = f"{when:%Y:%m:%d %H:%M:%S}", f"{when:%z}"
    exif = Image.Exif()
    exif.update({ExifTags.Base.Make: "Fictive", ExifTags.Base.Model: "Trailwatcher 2", ExifTags.Base.DateTime: taken})
    exif.get_ifd(ExifTags.IFD.Exif).update({
        ExifTags.Base.DateTimeOriginal: taken, ExifTags.Base.OffsetTimeOriginal: f"{offset[:3]}:{offset[3:]}",
        ExifTags.Base.BodySerialNumber: camera.serial,
    })  # fmt: skip
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({
        ExifTags.GPS.GPSLatitudeRef: "N" if camera.latitude >= 0 else "S", ExifTags.GPS.GPSLatitude: _degrees(camera.latitude),
        ExifTags.GPS.GPSLongitudeRef: "E" if camera.longitude >= 0 else "W", ExifTags.GPS.GPSLongitude: _degrees(camera.longitude),
    })  # fmt: skip
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, exif=exif)
    return buffer.getvalue()


def _degrees(value: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """Return degrees, minutes and seconds to a hundredth (about 30 cm)."""
    minutes, seconds = divmod(round(abs(value) * 360_000), 6000)
    return IFDRational(minutes // 60), IFDRational(minutes % 60), IFDRational(seconds, 100)
