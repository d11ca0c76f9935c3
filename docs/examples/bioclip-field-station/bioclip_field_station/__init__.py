"""Plugin of a field station: the card of its camera as a source, its checklist as a prior, its diary as an observer."""

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

from bioclip_plugin import hookimpl
from bioclip_plugin.plugin_api import (
    Answer,
    LabelSet,
    ListingOptions,
    MediaItem,
    NameIndex,
    Place,
    Run,
    Source,
    SourceError,
    Unlisted,
    uri_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIARY_VARIABLE = "FIELD_STATION_DIARY"

_MARK = b'"wrenbox"'  # the manifest's first key
_HEAD = 256  # the key is within these bytes
_SOUTH, _NORTH, _WEST, _EAST = 61.0, 61.5, -32.0, -31.0  # the grounds of the station, in degrees


class WrenboxSource:
    """A card of the Wrenbox camera: a JSON manifest with the place of the camera and one entry per photo."""

    name = "wrenbox card"

    def takes(self, address: str) -> bool:
        """True if the file begins as a manifest does; its name may be anything."""
        try:
            with Path(address).open("rb") as file:
                return _MARK in file.read(_HEAD)
        except OSError:  # a folder, standard input or a missing file is for the other sources
            return False

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        """Yield the photos in the order of the manifest; an entry without a file is reported, not dropped.

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
        """Weigh the taxa of the checklist 1 and all others 0; None away from the station."""
        if place.latitude is None or place.longitude is None:
            return None
        if not (_SOUTH <= place.latitude <= _NORTH and _WEST <= place.longitude <= _EAST):
            return None
        import numpy as np  # here, so that loading the plugin costs nothing

        index = NameIndex(labels)
        weights_N = np.zeros(len(labels), dtype=np.float32)
        for name in _checklist():
            rows = index.rows(name)
            if rows is not None:
                weights_N[rows] = 1.0
        return weights_N

    @hookimpl
    def answers_stored(self, run: Run, answers: Sequence[Answer]) -> None:
        """Write one JSON line per photo after its answer is in the store."""
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
