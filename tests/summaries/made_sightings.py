"""Sightings that are written out as rows, for tests of figures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.summaries.sightings import KINDS, NO_TIME, Sightings

FOX = Taxon.of(("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "vulpes"))
LYNX = Taxon.of(("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "lynx"))
DUCK = Taxon.of(("Animalia", "Chordata", "Aves", "Anseriformes", "Anatidae", "Anas", "platyrhynchos"))
HERON = Taxon.of(("Animalia", "Chordata", "Aves", "Pelecaniformes", "Ardeidae", "Ardea", "cinerea"))
FELIDAE = Taxon.of(("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae"))

Row = tuple[Taxon | str, str, str]
"""Taxon or kind of result, camera (empty: unknown), time in ISO 8601 (empty: unknown)."""


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) if text else NO_TIME


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def sightings(
    rows: Sequence[Row], *, events: Sequence[int] = (), media: Sequence[int] = (), reviewed: Sequence[bool] = ()
) -> Sightings:
    """Return sightings of one image each, unless the numbers of the images are given."""
    taxa = list(dict.fromkeys(what for what, _, _ in rows if isinstance(what, Taxon)))
    cameras = list(dict.fromkeys(camera for _, camera, _ in rows if camera))
    count = len(rows)
    return Sightings(
        np.array(media or range(count), dtype=np.int64),
        np.array([0 if isinstance(what, Taxon) else KINDS.index(what) for what, _, _ in rows], dtype=np.int8),
        np.array([taxa.index(what) if isinstance(what, Taxon) else -1 for what, _, _ in rows], dtype=np.int32),
        np.array([cameras.index(camera) if camera else -1 for _, camera, _ in rows], dtype=np.int32),
        np.array(events or [-1] * count, dtype=np.int32),
        np.array([seconds(at) for _, _, at in rows], dtype=np.int64),
        np.array(reviewed or [False] * count, dtype=bool),
        tuple(taxa),
        tuple(cameras),
    )
