"""Keys that came in with an image, and the columns of its source that a table keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.errors import DataError
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.shared.detections import is_whole_file
from bioclip_plugin.formats.shared.relative_names import CommonFolder, NamesUnder, OutsideFolder, RelativeNames
from bioclip_plugin.formats.shared.stated_values import fields_in
from bioclip_plugin.formats.tables.columns import KEY_COLUMNS, OWN_COLUMNS, Cells
from bioclip_plugin.formats.tables.read_reviews import READ_COLUMNS
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store.records import StoredItem

PREFIX = "source_"
"""Beginning of a kept column that would otherwise have the name of one of our columns, or of one that reviews are read from."""
_ALL = frozenset({"*", "all"})
_NAMES_SHOWN = 40
_RESERVED = frozenset(map(column_name, OWN_COLUMNS)) | READ_COLUMNS

# Places of each key in the metadata of an item, by their comparable names; the parts of a nested value are separated by dots.
_PLACES: Mapping[str, tuple[str, ...]] = {
    **{key: (column_name(key),) for key in KEY_COLUMNS},
    "mediaID": ("mediaid", "imageid", "camtrap_media.mediaID", "media.identifier"),
}
_RELATIVE_PATH, _FILE = KEY_COLUMNS.index("RelativePath"), KEY_COLUMNS.index("File")
_NO_KEYS: Cells = (None,) * len(KEY_COLUMNS)
# Most items of a camera have none of these words in their metadata, which then need not be parsed.
_WORDS = re.compile(
    "|".join(("code", "catalog", "barcode", "guid", "occurrence", "material", "media", "image", "path", "file"))
)


class KeyCells:
    """The cells of an item behind the columns of a table: its keys, then the kept columns."""

    def __init__(self, export: Export) -> None:
        """Find the kept columns.

        Raises:
            DataError: for a kept column that no item has, with those that there are.
        """
        self._findings = export.findings
        self._kept = kept_columns(export) if export.options.keep_columns else ()
        self._names = _names(export)
        self.columns = (*KEY_COLUMNS, *_headings(self._kept))

    def __call__(self, stored: StoredItem) -> Cells:
        item = stored.item
        keys = _keys(item.metadata) if item.metadata else _NO_KEYS
        if self._names is not None and keys[_FILE] is None and is_whole_file(stored):
            folder, name = self._folder_and_name(item.uri, self._names)
            keys = (*keys[:_RELATIVE_PATH], folder, name)
        return (*keys, *[text_of(value_of(item, name)) for name in self._kept]) if self._kept else keys

    def _folder_and_name(self, uri: str, names: RelativeNames) -> tuple[str | None, str | None]:
        try:
            name = names(uri)
        except (OutsideFolder, DataError):
            self._findings.add("images are not in the base folder; their RelativePath and File are empty", uri)
            return None, None
        if "://" in name:
            return None, None
        folder, _, file = name.encode("utf-8", "replace").decode().rpartition("/")
        return folder.replace("/", "\\"), file  # as Timelapse writes folders


def _names(export: Export) -> RelativeNames | None:
    """Return the names of files for Timelapse; None if no folder is asked for and a row is not an image."""
    options = export.options
    if options.base_folder is not None:
        return NamesUnder(options.base_folder)
    if options.per != "image":
        return None
    return CommonFolder(item.uri for item in export.store.listed_items(export.run)).names()


def _keys(metadata: Mapping[str, Any]) -> Cells:
    names = tuple(metadata)
    if not any(_WORDS.search(name.lower()) for name in names):
        return _NO_KEYS
    return tuple(
        next((text for place in places if (text := text_of(_found(metadata, names, place))) is not None), None)
        for places in _PLACES.values()
    )


def value_of(item: MediaItem, name: str) -> Any:
    """Return the value of a column of the item's source, also of one that filled a field of the item; None without one."""
    value = _found(item.metadata, tuple(item.metadata), name)
    return _of_field(item, name) if value is None else value


def _found(metadata: Mapping[str, Any], names: tuple[str, ...], name: str) -> Any:
    if name in metadata:
        return metadata[name]
    if (spelled := _by_comparable(names).get(column_name(name))) is not None:
        return metadata[spelled]
    outer, dot, inner = name.partition(".")
    nested = metadata.get(outer) if dot else None
    return nested.get(inner) if isinstance(nested, Mapping) else None


@lru_cache(maxsize=256)
def _by_comparable(names: tuple[str, ...]) -> Mapping[str, str]:
    return {column_name(name): name for name in reversed(names)}


def _of_field(item: MediaItem, name: str) -> Any:
    """Return the field of an item that a column of this name fills."""
    if column_name(name).startswith("verbatim"):  # only the source has that
        return None
    filled = next((field for field, names in fields_in([name]).items() if names), "")
    if filled in ("latitude", "longitude", "country", "region"):
        return getattr(item.place, filled)
    return getattr(item, filled) if filled in ("captured_at", "deployment", "sequence") else None


def text_of(value: Any) -> str | None:
    """Return a value of the metadata as text; None for an empty one.

    >>> text_of("B 10"), text_of(12), text_of(True), text_of(["a", 1]), text_of("")
    ('B 10', '12', 'true', '["a", 1]', None)
    """
    if isinstance(value, str):
        return value or None
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value if not isinstance(value, Mapping) else dict(value), ensure_ascii=False, default=str)


def _headings(kept: Sequence[str]) -> list[str]:
    """Return the headings of kept columns, each of them once."""
    headings: list[str] = []
    for name in kept:
        heading = heading_of(name)
        while heading in headings:
            heading = f"{PREFIX}{heading}"
        headings.append(heading)
    return headings


def heading_of(name: str) -> str:
    """Return the heading of a kept column, which never equals a column of ours.

    >>> heading_of("barcode of sheet"), heading_of("scientificName"), heading_of("source_x")
    ('barcode of sheet', 'source_scientificName', 'source_x')
    """
    return f"{PREFIX}{name}" if column_name(name) in _RESERVED else name


def kept_columns(export: Export, has_keys: bool = True) -> tuple[str, ...]:
    """Return the names of the kept columns as the source has them.

    Args:
        export: the export.
        has_keys: True for a table, which has the keys anyway: they are left out here.

    Raises:
        DataError: for a name that no item has.
    """
    given, known = export.options.keep_columns, frozenset(KEY_COLUMNS if has_keys else ())
    if any(name.strip().casefold() in _ALL for name in given):
        return tuple(name for name in _all_columns(export) if name not in known)
    wanted, there = dict.fromkeys(given), {}
    for item in export.store.listed_items(export.run):
        open_names = [name for name in wanted if name not in there]
        if not open_names:
            break
        for name in open_names:
            parts = [name] if value_of(item, name) is not None else _parts(name)
            if all(value_of(item, part) is not None for part in parts):
                there[name] = parts
    names: dict[str, None] = {}
    for name in wanted:
        names |= dict.fromkeys(there.get(name) or _parts(name))
    _refuse_unknown(
        export, [name for name in names if name not in {part for parts in there.values() for part in parts}]
    )
    return tuple(name for name in names if name not in known)


def _parts(name: str) -> list[str]:
    """Return the names in a list that is separated by commas."""
    return [part.strip() for part in name.split(",") if part.strip()]


def _refuse_unknown(export: Export, names: Sequence[str]) -> None:
    if not names:
        return
    known: dict[str, None] = {}
    missing = dict.fromkeys(names)
    for item in export.store.listed_items(export.run):
        known |= dict.fromkeys(_columns_of(item))
        for name in [name for name in missing if value_of(item, name) is not None]:
            del missing[name]
    if missing:
        shown = ", ".join(list(known)[:_NAMES_SHOWN]) or "none"
        more = f" and {len(known) - _NAMES_SHOWN} more" if len(known) > _NAMES_SHOWN else ""
        raise DataError(
            f"--keep-columns {', '.join(map(repr, missing))}: no image of this run has such a column; there are: {shown}{more}"
        )


def _all_columns(export: Export) -> dict[str, None]:
    names: dict[str, None] = {}
    for item in export.store.listed_items(export.run):
        names |= dict.fromkeys(_columns_of(item))
    return names


def _columns_of(item: MediaItem) -> Iterator[str]:
    """Yield the names of an item's metadata; those of a nested value behind its own and a dot."""
    for name, value in item.metadata.items():
        if isinstance(value, Mapping) and value:
            yield from (f"{name}.{inner}" for inner in value)
        else:
            yield name
