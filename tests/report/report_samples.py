"""A run of drawn images in a real store, for the tests of the report."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from bioclip_core.taxonomy import Taxon
from bioclip_plugin import MediaItem, Place, Region, Session
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.media import Unlisted, uri_of
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.report.writing import Written, write_report
from bioclip_plugin.store import Run, Store

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}
RED = Taxon("Fictia", "", "", "", "Warmidae", "Red", "fictus", "scarlet invention")
BLUE = Taxon("Fictia", "", "", "", "Coldidae", "Blue", "pictus", "azure invention")
TAXA = """kingdom,family,genus,specificEpithet,vernacularName
Fictia,Warmidae,Red,fictus,scarlet invention
Fictia,Coldidae,Green,fictus,leafy invention
Fictia,Coldidae,Blue,pictus,azure invention
"""
NOON = datetime(2031, 5, 1, 12, 0)
PERSON = Region(0.5, 0.25, 0.25, 0.5, "detector", "5", "person", 0.9, classified=False)
ANIMAL = Region(0.1, 0.1, 0.2, 0.2, "detector", "5", "animal", 0.8)


@dataclass
class House:
    """Store with its plugins, and methods to fill it."""

    folder: Path
    manager: BioclipPluginManager
    labels: Path
    model: str = "fake"

    @property
    def address(self) -> str:
        """Address of the store."""
        return str(self.folder / "results.db")

    def classify(
        self, items: Sequence[MediaItem | Unlisted], sources: Sequence[str] = ("photos",), **options: Any
    ) -> None:
        """Store a finished run over these items."""
        options = {"labels": str(self.labels), **options}
        with Session(plugins=self.manager, model=self.model, store=self.address, **options) as session:
            run = session.begin_run(list(sources))
            for _ in session.pipeline(run).answers(items):
                pass
            assert session.store is not None
            session.store.end_run(run, "finished", {})

    def write(self, output: Path | None = None, **options: Any) -> tuple[Path, Written]:
        """Write the report of the latest run."""
        path = output or self.folder / "report.html"
        with Store.open(self.address, create=False) as store:
            return path, write_report(
                path, store, store.run(), ReportOptions(**options), plugins=self.manager, force=True
            )

    def run(self) -> Run:
        """Return the latest run."""
        with Store.open(self.address, create=False) as store:
            return store.run()

    def photo(self, name: str, colour: str, size: tuple[int, int] = (80, 60), **save: Any) -> Path:
        """Write a file of one colour."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, COLOURS[colour]).save(path, **save)
        return path


def item(path: Path, **about: Any) -> MediaItem:
    return MediaItem(uri_of(path), path=path, **about)


def trapped(house: House, count: int = 150) -> list[MediaItem]:
    """Return images of three colours from three deployments over five days."""
    items = []
    for number in range(count):
        colour = ("red", "red", "red", "green", "blue")[number % 5]
        camera = number % 3
        items.append(
            item(
                house.photo(f"cam{camera}/{colour}_{number:03}.jpg", colour),
                deployment=f"CAM {camera}",
                captured_at=NOON + timedelta(days=number % 5, hours=number % 4),
                place=Place("BE", None, 51.123456 + camera / 10, 4.654321 + camera / 10),
            )
        )
    return items


def data_of(path: Path) -> dict[str, Any]:
    """Return the data block of the page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def blocks_of(path: Path) -> list[dict[str, Any]]:
    """Return the blocks of thumbnails, in order."""
    return [
        json.loads(text)
        for text in re.findall(r'<script type="application/json" id="t\d+">(.*?)</script>', path.read_text("utf-8"))
    ]


def picture_of(kept: Sequence[Any]) -> Image.Image:
    """Decode a thumbnail."""
    return Image.open(io.BytesIO(base64.b64decode(kept[0])))


def mean_colour(picture: Image.Image, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> tuple[int, ...]:
    """Return the mean colour of a part of a picture; left, upper, right, lower as fractions."""
    width, height = picture.size
    part = picture.convert("RGB").crop(
        (round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height))
    )
    pixel = part.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)
