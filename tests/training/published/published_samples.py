"""Small archives as published collections have them: tars of samples, Parquet files with images."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def image(colour: str = "red", kind: str = "JPEG", size: tuple[int, int] = (12, 8)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(stream, kind)
    return stream.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], mode: str = "w", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as tar:  # type: ignore[call-overload]
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def sample(key: str, members: Mapping[str, bytes | str], colour: str = "red") -> list[tuple[str, bytes]]:
    """Return the members of one sample: its image, and texts by their extension."""
    texts = [(f"{key}.{name}", data.encode() if isinstance(data, str) else data) for name, data in members.items()]
    return [(f"{key}.jpg", image(colour)), *texts]
