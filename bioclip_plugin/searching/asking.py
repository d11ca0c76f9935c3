"""What a text asks for: an image, an item of the store, a name or words. Never guessed: two meanings are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError, DataError, UsageError
from bioclip_core.findings import shortened
from bioclip_plugin.items.media import Region, uri_of
from bioclip_plugin.searching.queries import (
    check_model,
    image_query,
    item_query,
    look_up,
    name_query,
    near_name,
    rows_of_name,
    words_query,
)
from bioclip_plugin.searching.results import Kind, NameFrom, Query
from bioclip_plugin.searching.reviewed import reviewed_query
from bioclip_plugin.searching.searcher import Searcher
from bioclip_plugin.store import Store

if TYPE_CHECKING:
    from bioclip_plugin.running.engine import Engine
    from bioclip_plugin.store.records import StoredRegion

_KEY = re.compile(r"(\d{1,18})-(\d{1,18})-(\d{1,18})")
_FEWEST_WORDS = 3
"""Words that a sentence has. One or two words that are not a name may be a name that is misspelt."""
_PATH = re.compile(r"[/\\]|\.[A-Za-z0-9]{2,5}$")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of the run that a text names."""

    uri: str
    media: int
    regions: tuple[StoredRegion, ...]
    """Those that are classified."""


class Asking:
    """Texts made into queries over a run."""

    def __init__(self, store: Store, searcher: Searcher, engine: Callable[[], Engine]) -> None:
        """Set up.

        Args:
            store: the store.
            searcher: the run.
            engine: returns the model of queries; it is called only for queries that need it.
        """
        self._store, self._searcher, self._engine = store, searcher, engine

    def query(
        self, text: str, kind: Kind | None = None, region: int | None = None, name_from: NameFrom = "labels"
    ) -> Query:
        """Return the query that a text asks for.

        Args:
            text: path of an image, name or key of an item of the store, name of a taxon, or words.
            kind: what it is; None: what it can only be.
            region: number of the region, from 1, of a stored image with several.
            name_from: what a name's vector is made of: its rows in the label set, or the images that people reviewed as it.

        Raises:
            DataError: for a text that is nothing of these, or that could be two of them.
        """
        if name_from == "reviews":
            if kind not in (None, "name"):
                raise UsageError(f"a search by {kind} has nothing to do with reviews: leave that option out")
            return reviewed_query(self._store, self._searcher, text)
        chosen = kind or self._kind(text)
        if chosen == "item":
            return self._item(text, region)
        engine = self._engine()
        check_model(engine, self._searcher, self._store.runs())
        if chosen == "image":
            return image_query(engine, text)
        return name_query(engine, text) if chosen == "name" else words_query(engine, text)

    def _kind(self, text: str) -> Kind:
        found: dict[Kind, str] = {}
        if self._key(text) is not None:
            found["item"] = "the key of an item"
        elif self._stored(text) is not None:
            found["item"] = "an image of the run"
        elif _is_file(text):
            found["image"] = "a file"
        # A file that is stored is one image, whose feature is known. Opening a label set may take seconds.
        may_be_name = not _PATH.search(text) and self._key(text) is None
        why_no_names = self._add_name(text, found) if may_be_name else ""
        if len(found) > 1:
            meanings = " and ".join(f"{words} (--as {kind})" for kind, words in found.items())
            raise DataError(f"{shortened(text)!r} is {meanings}: say which is meant")
        if found:
            return next(iter(found))
        if _PATH.search(text):
            raise DataError(
                f"{shortened(text)!r} is neither a file nor an image of run {self._searcher.run.id}: check the path"
            )
        if len(text.split()) >= _FEWEST_WORDS:
            return "words"
        raise DataError(
            f"{shortened(text)!r} is neither a file, nor an image of run {self._searcher.run.id}, nor "
            f"{why_no_names or 'a name in the label set' + self._near(text)}; to search by words, say so: --as words"
        )

    def _add_name(self, text: str, found: dict[Kind, str]) -> str:
        """Note that a text is a name; return why that cannot be known, empty if it can."""
        try:
            if rows_of_name(self._engine().label_set, text) is not None:
                found["name"] = "a name in the label set"
        except BioclipError as error:
            return f"a name (the label set cannot be opened: {error})"
        return ""

    def _near(self, text: str) -> str:
        labels = self._engine().label_set
        return f"{near_name(labels, text)} ({look_up(labels)})"

    def _key(self, text: str) -> tuple[int, int, int] | None:
        match = _KEY.fullmatch(text.strip())
        return None if match is None else (int(match[1]), int(match[2]), int(match[3]))

    def _stored(self, text: str) -> StoredImage | None:
        """Return the image of the run with this name or path; None if there is none, or it has no classified region."""
        names = {(text, 0), *([(uri_of(Path(text)), 0)] if text.strip() else [])}
        for (uri, _), media in self._store.media_numbers(names).items():
            _, regions = self._store.media_results(self._searcher.run, [media]).get(media, (None, []))
            classified = tuple(one for one in regions if one.classified)
            if classified:
                return StoredImage(uri, media, classified)
        return None

    def _item(self, text: str, region: int | None) -> Query:
        if (key := self._key(text)) is not None:
            run, media, number = key
            if run != self._searcher.run.id:
                raise DataError(
                    f"{text} is an item of run {run}, and the search is in run {self._searcher.run.id}: give --run {run}"
                )
            return item_query(self._searcher, media, number)
        image = self._stored(text)
        if image is None:
            raise DataError(
                f"{shortened(text)!r} is not an image of run {self._searcher.run.id}: check the name, or give --as image"
            )
        if region is None and len(image.regions) > 1:
            raise DataError(
                f"{shortened(image.uri)} has {len(image.regions)} regions, and a search takes one: say which with --region, a number "
                f"from 1 ({'; '.join(f'{place}: {_shown(one.region)}' for place, one in enumerate(image.regions[:5], start=1))})"
            )
        place = region or 1
        if not 1 <= place <= len(image.regions):
            raise DataError(
                f"{shortened(image.uri)} has no region {place}: give a number from 1 to {len(image.regions)}"
            )
        return item_query(self._searcher, image.media, image.regions[place - 1].region_id, image.uri)


def _shown(region: Region | None) -> str:
    return "the whole image" if region is None else f"{region.category or 'box'} at {region.x:.2f}, {region.y:.2f}"


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False
