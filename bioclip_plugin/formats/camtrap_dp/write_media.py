"""The media of an export: a file with its frames, what people said of it, and what a package said of it before."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import UsageError
from bioclip_plugin.formats.camtrap_dp.read_files import DEPLOYMENT_KEY, MEDIA_KEY, PACKAGE_KEY
from bioclip_plugin.items.media import path_of
from bioclip_plugin.items.time_zones import in_zone, moment_in

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.store import Review, StoredItem

_AT_ONCE = 256  # media whose reviews are asked for together
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
IDS = uuid.uuid5(uuid.NAMESPACE_URL, "bioclip-plugin:camtrap-dp")
"""Identifiers that we make are made of this and what they name, so that the same store gives the same ones."""


@dataclass(frozen=True, slots=True)
class Medium:
    """One file. Its frames are consecutive in the listing; an image has one."""

    uri: str
    whole: tuple[StoredItem, ...]
    """Its frames with all their regions: what is public is decided by all of them."""
    chosen: tuple[StoredItem, ...]
    """Its frames with the regions that are to be exported."""
    reviews: tuple[Review, ...]
    media_cells: Mapping[str, str]
    """Its row in the Camtrap DP package that it came from; empty for other sources."""
    deployment_cells: Mapping[str, str]
    package: Mapping[str, str]
    time_zone: str | None

    @property
    def first(self) -> StoredItem:
        return self.chosen[0]

    def deployment(self, known: Collection[str]) -> str:
        """The name of its deployment: as stated, else that of its folder where a deployment is called so, else the only one."""
        item = self.first.item
        stated = self.media_cells.get("deploymentID") or item.deployment
        if stated:
            return stated
        folder = PurePosixPath(self.uri.replace("\\", "/")).parent.name
        if folder in known:
            return folder
        return next(iter(known)) if len(known) == 1 else ""

    def moment(self, frame: StoredItem | None = None) -> datetime | None:
        """When it was recorded (or one frame of it): aware unless no time zone is known, None where nobody said."""
        captured = (frame or self.first).item.captured_at
        if captured is None:
            return moment_in(self.media_cells.get("timestamp", ""), self.time_zone)
        return in_zone(captured, self.time_zone).replace(microsecond=0)

    def is_listed_only(self) -> bool:
        """Whether it is no file but a line about something that could not be listed."""
        failure = self.first.failure
        return failure is not None and failure.stage == "list" and not self.media_cells

    def file_path(self, base: str) -> str:
        """``filePath``: as its package had it, else relative to the base folder.

        Raises:
            UsageError: for a file outside the base folder.
        """
        given = self.media_cells.get("filePath")
        return given if given else relative_path(self.uri, base)

    def identifier(self, path: str) -> str:
        """``mediaID``: as its package had it, else one that is made of its ``filePath``."""
        return self.media_cells.get("mediaID") or made_id("media", path)


def made_id(*parts: Any) -> str:
    """An identifier that is the same whenever it is made of the same parts."""
    return str(uuid.uuid5(IDS, "\x1f".join(str(part) for part in parts)))


def media_of(export: Export, ranks: Collection[str]) -> Iterator[Medium]:
    """The media of an export in listing order, in flat memory; may be called again.

    Args:
        ranks: the levels whose candidates are wanted; fewer are read faster.
    """
    groups = (list(frames) for _, frames in groupby(_items(export, ranks), key=lambda pair: pair[0].item.uri))
    together: list[list[tuple[StoredItem, StoredItem]]] = []
    for group in groups:
        together.append(group)
        if len(together) >= _AT_ONCE:
            yield from _with_reviews(export, together)
            together = []
    yield from _with_reviews(export, together)


def _items(export: Export, ranks: Collection[str]) -> Iterator[tuple[StoredItem, StoredItem]]:
    """Each item as it is stored, and with the regions that are asked for."""
    wanted = None if export.selection else ranks  # a selection looks at what it likes
    for number, item in enumerate(export.store.items_of(export.run, ranks=wanted), start=1):
        if export.on_item:
            export.on_item(number)
        chosen = export.selection.of(item) if export.selection else item
        if chosen is not None:
            yield item, chosen


def _with_reviews(export: Export, groups: Sequence[Sequence[tuple[StoredItem, StoredItem]]]) -> Iterator[Medium]:
    said = export.reviews_of([whole for group in groups for whole, _ in group]) if groups else {}
    for group in groups:
        reviews = tuple(
            review for whole, _ in group for review in said.get((whole.item.uri, whole.item.frame), ())
        )  # fmt: skip
        about = [group[0][0].item.metadata, *(review.details for review in reviews)]
        yield Medium(
            uri=group[0][0].item.uri,
            whole=tuple(whole for whole, _ in group),
            chosen=tuple(chosen for _, chosen in group),
            reviews=reviews,
            media_cells=stated(about, MEDIA_KEY),
            deployment_cells=stated(about, DEPLOYMENT_KEY),
            package=stated(about, PACKAGE_KEY),
            time_zone=export.options.time_zone,
        )


def stated(about: Sequence[Mapping[str, Any]], key: str) -> dict[str, str]:
    """What the first of some mappings has under a key: text by text."""
    for one in about:
        cells = one.get(key)
        if isinstance(cells, dict) and cells:
            return {str(name): str(cell) for name, cell in cells.items()}
    return {}


def relative_path(uri: str, base: str) -> str:
    """A file's path relative to the base folder, with forward slashes; an address on the web as it is.

    Raises:
        UsageError: for a file outside the base folder.
    """
    if _SCHEME.match(uri):
        return uri
    name = os.fspath(path_of(uri))
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        name = uri  # the table is UTF-8; the name keeps its escapes
    relative = os.path.relpath(name, base or ".").replace("\\", "/")
    if relative == ".." or relative.startswith("../"):
        raise UsageError(
            f"the image {uri} is not in the base folder {base}: give one that holds all images with --base-folder"
        )
    return relative


def folder_above(uri: str) -> str | None:
    """The folder that a file lies in; None for an address on the web."""
    return None if _SCHEME.match(uri) else os.path.dirname(os.fspath(path_of(uri)))  # noqa: PTH120 - '' is a folder here
