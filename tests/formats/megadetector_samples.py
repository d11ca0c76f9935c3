"""MegaDetector files for tests, and what our source makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bioclip_plugin.media import MediaItem, Unlisted
from bioclip_plugin.sources import ListingOptions
from bioclip_plugin.sources.megadetector import MegaDetectorSource

CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
INFO = {
    "format_version": "1.6",
    "detector": "md_v5a.0.0.pt",
    "detector_metadata": {"megadetector_version": "v5a.0.0", "typical_detection_threshold": 0.2},
}


def detection(category: str = "1", conf: float = 0.9, bbox: Any = (0.1, 0.2, 0.3, 0.4), **more: Any) -> dict[str, Any]:
    return {"category": category, "conf": conf, "bbox": list(bbox) if isinstance(bbox, tuple) else bbox, **more}


def image(file: str, *detections: Any, **more: Any) -> dict[str, Any]:
    return {"file": file, "detections": list(detections), **more}


def results(*images: Any, **more: Any) -> dict[str, Any]:
    """A whole file; the header stands after the images, as the detector's own program writes it."""
    return {"images": list(images), "detection_categories": CATEGORIES, "info": INFO, **more}


def written(content: Any, path: Path | str = "md.json") -> Path:
    path = Path(path)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def listed(content: Any, **options: Any) -> list[MediaItem | Unlisted]:
    """What the source lists of a file in the working directory."""
    return list(MegaDetectorSource().items(str(written(content)), ListingOptions(**options)))


def only_item(content: Any, **options: Any) -> MediaItem:
    (item,) = listed(content, **options)
    assert isinstance(item, MediaItem)
    return item
