"""A field station's plugin: its camera's card as a source, its checklist as a prior, its diary as an observer."""

from __future__ import annotations

import csv
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import SourceError
from bioclip_plugin import MediaItem, Place, hookimpl
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import Unlisted, uri_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.labels.label_set import LabelSet
    from bioclip_plugin import Answer
    from bioclip_plugin.contracts.source import Source
    from bioclip_plugin.store import Run

DIARY_VARIABLE = "FIELD_STATION_DIARY"

_MARK = b'"wrenbox"'  # the manifest's first key
_HEAD = 256  # bytes in which it stands
_SOUTH, _NORTH, _WEST, _EAST = 61.0, 61.5, -32.0, -31.0  # the station's grounds, in degrees


class WrenboxSource:
    """Lists a card of the Wrenbox camera: a JSON manifest with where the camera stood and a line a photo."""

    name = "wrenbox card"

    def takes(self, address: str) -> bool:
        """Whether the file begins as a manifest does; its name may be anything."""
        try:
            with Path(address).open("rb") as file:
                return _MARK in file.read(_HEAD)
        except OSError:  # a folder, standard input, nothing at all: for the other sources
            return False

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        """The photos in the manifest's order; an entry that names no file is told of, not dropped.

        Raises:
            SourceError: if the manifest cannot be understood.
        """
        manifest = Path(address)
        try:
            card = json.loads(manifest.read_text("utf-8"))
            place = Place(card["country"], card["station"], card["latitude"], card["longitude"])
            zone = timezone(timedelta(minutes=card["utc_offset_minutes"]))
            photos = list(card["photos"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"{address}: this Wrenbox manifest cannot be read ({error!r}); copy the card again"
            ) from None
        for number, photo in enumerate(photos, start=1):
            yield _photo(manifest, card, place, zone, number, photo)


def _photo(
    manifest: Path, card: dict[str, Any], place: Place, zone: timezone, number: int, photo: dict[str, Any]
) -> MediaItem | Unlisted:
    try:
        path = manifest.parent / photo["file"]
        taken_at = datetime.fromisoformat(photo["taken"]).replace(tzinfo=zone)
    except (KeyError, TypeError, ValueError) as error:
        return Unlisted(f"{uri_of(manifest)}#photo={number}", f"photo {number} lacks a file or a time: {error!r}")
    return MediaItem(
        uri=uri_of(path),
        path=path,
        captured_at=taken_at,
        place=place,
        deployment=card["station"],
        sequence=f"{card['unit']}-{photo.get('burst', number)}",
        metadata={"unit": card["unit"], "firmware": card["wrenbox"]},
    )


class FieldStation:
    """The hooks. One instance serves a whole process, from any thread."""

    def __init__(self) -> None:
        self._diary = threading.Lock()

    @hookimpl
    def register_sources(self, register: Callable[[Source], None]) -> None:
        register(WrenboxSource())

    @hookimpl
    def candidate_taxa(self, place: Place, labels: LabelSet) -> NDArray[np.float32] | None:
        """1 for what the checklist has, 0 for everything else; no opinion away from the station."""
        if place.latitude is None or place.longitude is None:
            return None
        if not (_SOUTH <= place.latitude <= _NORTH and _WEST <= place.longitude <= _EAST):
            return None
        import numpy as np  # here, so that loading the plugin costs nothing

        from bioclip_core.labels.checklist import NameIndex

        index = NameIndex(labels)
        weights_N = np.zeros(len(labels), dtype=np.float32)
        for name in _checklist():
            rows = index.rows(name)
            if rows is not None:
                weights_N[rows] = 1.0
        return weights_N

    @hookimpl
    def answers_stored(self, run: Run, answers: Sequence[Answer]) -> None:
        """One JSON line a photo, after its answer is safe in the store."""
        diary = os.environ.get(DIARY_VARIABLE)
        if not diary:
            return
        lines = [
            {
                "run": run.id,
                "photo": answer.item.uri,
                "name": answer.best.name if answer.best else None,
                "failure": answer.failure.reason if answer.failure else None,
            }
            for answer in answers
        ]
        with self._diary, Path(diary).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _checklist() -> list[str]:
    text = files(__name__).joinpath("checklist.csv").read_text("utf-8")
    return [row["scientific_name"] for row in csv.DictReader(text.splitlines())]


plugin = FieldStation()
