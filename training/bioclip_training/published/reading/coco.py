"""JSON files in the form of COCO: images, annotations and categories, element by element in flat memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from bioclip_core.files.streamed_json import ARRAY_BEGINS, AtOnce, Several, walk
from bioclip_training.published.layout import BATCH_ROWS, ReadOptions

Id = int | str | float | None
UNREADABLE = "entries of the JSON file cannot be read"
_ID = "id"

S = TypeVar("S", bound=msgspec.Struct)


class Image(msgspec.Struct, gc=False):
    """An entry of ``images``: what iNat21 and COCO Camera Traps state."""

    id: Id = None
    file_name: str | None = None
    width: float | None = None
    height: float | None = None
    license: Id = None
    rights_holder: str | None = None
    date: str | None = None
    datetime: str | None = None
    latitude: float | str | None = None
    longitude: float | str | None = None
    location: Id = None
    seq_id: Id = None


class Annotation(msgspec.Struct, gc=False):
    """An entry of ``annotations``."""

    id: Id = None
    image_id: Id = None
    category_id: Id = None
    bbox: list[float] | None = None
    seq_id: Id = None
    sequence_level_annotation: bool | None = None


def id_text(value: Id) -> str:
    """Return an id as text, so that 17, 17.0 and "17" are one id.

    >>> id_text(17), id_text(17.0), id_text("17"), id_text(None)
    ('17', '17', '17', '')
    """
    if type(value) is int:
        return str(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    return str(value).strip()


class CocoFile:
    """A file that is read once: batches of images and of annotations as they come, and the other members at the end."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path, self._options = path, options
        self.head: dict[str, Any] = {}
        """The other top-level members, such as categories, licenses and info; filled while :meth:`batches` is drawn."""
        self.counts = {"images": 0, "annotations": 0}
        """Entries so far."""

    def batches(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield ``images`` with images, and ``annotations`` with annotations.

        Raises:
            SourceError: if the file cannot be read, or is not JSON (with line and column).
        """
        kinds: dict[str, type[Any]] = {"images": Image, "annotations": Annotation}
        waiting: dict[str, list[Any]] = {name: [] for name in kinds}
        fast = [AtOnce(name, "", _decoder(kind)) for name, kind in kinds.items()]
        for event in walk(self._path, at_once=fast):
            if event.name not in kinds or event.number is None:
                event.add_to(self.head)
            elif event.number != ARRAY_BEGINS:
                found = waiting[event.name]
                if isinstance(event.value, Several):
                    found += event.value
                elif (one := self._one(event.value, event.name, event.number, kinds[event.name])) is not None:
                    found.append(one)
                self.counts[event.name] += len(event.value) if isinstance(event.value, Several) else 1
                while len(found) >= BATCH_ROWS:
                    yield event.name, found[:BATCH_ROWS]
                    waiting[event.name] = found = found[BATCH_ROWS:]
        for name, rest in waiting.items():
            if rest:
                yield name, rest

    def _one(self, value: Any, array: str, number: int, kind: type[S]) -> S | None:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            self._options.skip(UNREADABLE, f"{self._path.name}, {array}[{number}]: {error}")
            return None


def _decoder(kind: type[Any]) -> Callable[[str], list[Any] | None]:
    decode = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]

    def several(text: str) -> list[Any] | None:
        try:
            return decode(f"[{text}]")
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            return None

    return several


def texts(values: Sequence[str | None]) -> pa.Array:
    """Return a column of texts, empty for None."""
    return pa.array(["" if value is None else value for value in values], pa.string())


def ids(values: Sequence[Id]) -> pa.Array:
    """Return a column of ids as texts."""
    return pa.array([str(value) if type(value) is int else id_text(value) for value in values], pa.string())


def by_id(found: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Return the entries of a small array, such as categories, by their ids; the first one of several with one id."""
    entries = found.get(name)
    result: dict[str, dict[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            result.setdefault(id_text(entry.get(_ID)), entry)
    return result
