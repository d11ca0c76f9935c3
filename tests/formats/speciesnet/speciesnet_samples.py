"""SpeciesNet files for tests, and the items that our source lists from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.species_labels import ANIMALS, PEOPLE, Kind, taxonomy_of
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
    """Return a classified box of a fox."""
    said = {"class": CANIDS, "score": 0.9, "source": "classifier+rollup_to_family"}
    usual = {"raw_classifications": raw((FOX, 0.6), (CANIDS, 0.3)), "processed_classification": said}
    return detection(**(usual | more))


def prediction(filepath: str, *detections: Any, **more: Any) -> dict[str, Any]:
    return {"filepath": filepath, "detections": list(detections), "model_version": "4.0.3a", **more}


def results(*predictions: Any, **more: Any) -> dict[str, Any]:
    """Return a complete file of version 5.x."""
    return {"info": INFO, "predictions": list(predictions), **more}


def of_4x(filepath: str, *detections: Any, **more: Any) -> dict[str, Any]:
    """Return an element in the form of version 4.x: one prediction per image."""
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
    """Return what the source lists for a file in the working directory."""
    return list(SpeciesNetSource().items(str(written(content)), ListingOptions(**options)))


def only_item(content: Any, **options: Any) -> MediaItem:
    (item,) = listed(content, **options)
    assert isinstance(item, MediaItem)
    return item


@dataclass(frozen=True, slots=True)
class Label:
    """The meaning of a label."""

    kind: Kind
    taxon: Taxon
    """Homo sapiens for a person; empty for a blank, a vehicle, an unknown and words that are not a taxon."""


def parse_label(text: str) -> Label:
    """Return the meaning of a label. A class makes the kingdom Animalia: SpeciesNet names animals only."""
    identifier, *names, common = (part.strip() for part in text.split(";"))
    word = common.lower()
    # An unknown counts as an animal of unknown class, as in SpeciesNet's own roll-up.
    if "no cv result" in (names[0].lower(), word):
        return Label("unknown", ANIMALS)
    if not any(names) and word in ("blank", "vehicle"):
        return Label("blank" if word == "blank" else "vehicle", Taxon())
    if not any(names) and word == "animal":
        return Label("taxon", Taxon(kingdom="Animalia", source_id=identifier))
    upper = [name[:1].upper() + name[1:] for name in names[:4]]
    taxon = Taxon.of(["Animalia" if names[0] else "", "", *upper, names[4]], common, identifier)
    return Label("person" if taxonomy_of(taxon) == taxonomy_of(PEOPLE) else "taxon", taxon)
