"""SpeciesNet files for tests, and what our source makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.speciesnet.read import SpeciesNetSource
from bioclip_plugin.items.media import MediaItem, Unlisted

FOX = "fox-id;mammalia;carnivora;canidae;vulpes;vulpes;red fox"
CANIDS = "canid-id;mammalia;carnivora;canidae;;;canid family"
INFO = {"format_version": "20261015"}
LABELS = {"0": "whole_image_classification", "1": "animal", "2": "human", "3": "vehicle"}
WHOLE = {"category": "0", "label": LABELS["0"], "conf": 1.0, "bbox": [0.0, 0.0, 1.0, 1.0]}


def detection(category: str = "1", conf: float = 0.9, bbox: Any = (0.1, 0.2, 0.3, 0.4), **more: Any) -> dict[str, Any]:
    box = list(bbox) if isinstance(bbox, tuple) else bbox
    return {"category": category, "label": LABELS.get(category, "other"), "conf": conf, "bbox": box, **more}


def raw(*pairs: tuple[str, float]) -> dict[str, Any]:
    return {"classes": [label for label, _ in pairs], "scores": [score for _, score in pairs]}


def classified(**more: Any) -> dict[str, Any]:
    """A box of a fox that was classified."""
    said = {"class": CANIDS, "score": 0.9, "source": "classifier+rollup_to_family"}
    usual = {"raw_classifications": raw((FOX, 0.6), (CANIDS, 0.3)), "processed_classification": said}
    return detection(**(usual | more))


def prediction(filepath: str, *detections: Any, **more: Any) -> dict[str, Any]:
    return {"filepath": filepath, "detections": list(detections), "model_version": "4.0.3a", **more}


def results(*predictions: Any, **more: Any) -> dict[str, Any]:
    """A whole file of 5.x."""
    return {"info": INFO, "predictions": list(predictions), **more}


def of_4x(filepath: str, *detections: Any, **more: Any) -> dict[str, Any]:
    """One element as 4.x wrote it: one prediction an image."""
    return {
        "filepath": filepath,
        "classifications": raw((FOX, 0.6), (CANIDS, 0.3)),
        "detections": list(detections),
        "prediction": CANIDS,
        "prediction_score": 0.9,
        "prediction_source": "classifier+rollup_to_family",
        "model_version": "4.0.1a",
        **more,
    }


def written(content: Any, path: Path | str = "predictions.json") -> Path:
    path = Path(path)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def listed(content: Any, **options: Any) -> list[MediaItem | Unlisted]:
    """What the source lists of a file in the working directory."""
    return list(SpeciesNetSource().items(str(written(content)), ListingOptions(**options)))


def only_item(content: Any, **options: Any) -> MediaItem:
    (item,) = listed(content, **options)
    assert isinstance(item, MediaItem)
    return item
