"""A world of five taxa whose images are colours, so that every probability can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bioclip_core.classify import Candidate
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import MediaItem, Region, Session, create_plugin_manager
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.contracts.rule import Ruling, Subject
from bioclip_plugin.items.media import Place
from bioclip_plugin.store import Store
from bioclip_plugin.store.records import StoredDecision
from bioclip_plugin.testing import FakeModel

DOGS = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae")
WOLF = Taxon(*DOGS, "Canis", "lupus", "wolf")
JACKAL = Taxon(*DOGS, "Canis", "aureus", "golden jackal")
FOX = Taxon(*DOGS, "Vulpes", "vulpes", "red fox")
FOWL = Taxon("Animalia", "Chordata", "Aves", "Galliformes", "Phasianidae", "Gallus", "gallus", "red junglefowl")
MAPLE = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "rubrum", "red maple")
LABELS = {
    WOLF: (1.0, 0.0, 0.0),
    JACKAL: (0.8, 0.6, 0.0),
    FOX: (0.6, 0.0, 0.8),
    FOWL: (0.0, 0.0, 1.0),
    MAPLE: (0.0, 1.0, 0.0),
}
"""Direction of each taxon in the space of red, green and blue."""
SCALE = 10.0

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
NOON = datetime(2024, 5, 1, 12, 0, 0)


class World:
    """Model, label set and store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = FakeModel(logit_scale=SCALE)
        self.manager: BioclipPluginManager = create_plugin_manager(installed=False)
        self.manager.register(self.model)
        self.labels = folder / "labels"
        block = Block(0, len(LABELS), "text", SCALE)
        rows_ND = np.array(list(LABELS.values()), dtype=np.float16)
        write_label_set(self.labels, list(LABELS), rows_ND, self.model.encoder.identity, block, {})
        self.store = folder / "results.db"

    def session(self, *rules: str, **options: Any) -> Session:
        """Open a session with these rules on the store of the world."""
        given: dict[str, Any] = {"model": "fake", "labels": str(self.labels), "store": self.store, **options}
        return Session(plugins=self.manager, rules=rules, **given)

    def decided(self, *rules: str, items: Iterable[MediaItem], **options: Any) -> list[StoredDecision | None]:
        """Return the rules' decisions on the regions of these items, in listing order."""
        with self.session(*rules, **options) as session:
            list(session.classify_stream(items))
        return self.decisions()

    def decisions(self, run: int | None = None) -> list[StoredDecision | None]:
        """Return the stored decisions of a run (default: the latest) in listing order."""
        with Store.open(self.store) as store:
            return [region.decision for item in store.items_of(store.run(run)) for region in item.regions]

    def write(self, name: str, text: str) -> Path:
        """Write a file to the folder."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path


def photo(name: str, *colours: tuple[int, int, int], after_s: float | None = 0.0, **changes: Any) -> MediaItem:
    """Return an image of equally wide stripes, taken ``after_s`` seconds after noon by deployment "site"; None: time unknown."""
    image = Image.new("RGB", (8 * len(colours), 8))
    for n, colour in enumerate(colours):
        image.paste(colour, (8 * n, 0, 8 * n + 8, 8))
    at = None if after_s is None else NOON + timedelta(seconds=after_s)
    given: dict[str, Any] = {"captured_at": at, "deployment": "site", "image": image, **changes}
    return MediaItem(uri=name, **given)


def stripe(n: int, of: int, **changes: Any) -> Region:
    """Return the box of one stripe."""
    given: dict[str, Any] = {"detector": "md", "category": "animal", "confidence": 0.9, **changes}
    return Region(n / of, 0.0, 1 / of, 1.0, **given)


def names(decisions: Sequence[StoredDecision | None]) -> list[str]:
    """Return the taxon or the verdict of each decision."""
    return [
        "none" if one is None else one.candidate.name if one.candidate is not None else one.verdict for one in decisions
    ]


def softmax(feature: Sequence[float], weights: dict[Taxon, float] | None = None) -> dict[Taxon, float]:
    """Compute the probabilities of a feature in fp64, written out. The feature is used without normalisation."""
    logits = {taxon: SCALE * float(np.dot(feature, row)) for taxon, row in LABELS.items()}
    powers = {taxon: np.exp(logit) * (weights or {}).get(taxon, 1.0) for taxon, logit in logits.items()}
    whole = sum(powers.values())
    return {taxon: float(power / whole) for taxon, power in powers.items()}


def subject(
    by_rank: dict[str, Sequence[Candidate]],
    *,
    region: Region | None = None,
    decided: Candidate | None = None,
    place: Place | None = None,
    threshold: float = 0.65,
) -> Subject:
    """Return a region with these candidates and an earlier decision."""
    first = Ruling("taxon", decided) if decided is not None else Ruling("unknown")
    item = MediaItem("a.jpg", place=place or Place(), regions=(region,) if region else ())
    return Subject(item, region, by_rank, by_rank, "species", threshold, first)


def of(taxon: Taxon, probability: float) -> Candidate:
    """Return a candidate at the taxon's own rank."""
    return Candidate(taxon, str(taxon.rank), probability)
