"""Content filters of plugins, behind a stand-in that checks what they give and names the plugin in whatever goes wrong in them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioclip_plugin.contracts.checking import checked_name, is_json
from bioclip_plugin.contracts.containing import Garbage, Owner, shown

if TYPE_CHECKING:
    from bioclip_core.preprocessing import Preprocessing
    from bioclip_training.curation.content_filters import FilterOptions, FilterRecord

MOST_AT_ONCE = 65_536


def contained_filter(given: Any, owner: Owner) -> ContainedFilter:
    """Return a content filter behind its stand-in."""
    name = checked_name(getattr(given, "name", None), "content filter")
    for method in ("identity", "open"):
        if isinstance(given, type) or not callable(getattr(given, method, None)):
            raise Garbage(f"the content filter {name} is {shown(given)}; an object with identity and open is needed")
    if not isinstance(getattr(given, "description", None), str):
        raise Garbage(
            f"the content filter {name} has the description {shown(getattr(given, 'description', None))}; a text is needed"
        )
    return ContainedFilter(given, owner)


class ContainedFilter:
    """A content filter of a plugin."""

    def __init__(self, given: Any, owner: Owner) -> None:
        self.name = str(given.name)
        self.description = " ".join(given.description.split())
        self._filter, self._owner = given, owner

    def identity(self, options: FilterOptions) -> Mapping[str, Any]:
        """Return what decides the scores.

        Raises:
            BioclipError: if the filter refuses its options, fails, or gives something that cannot be stored.
        """
        what = f"identity of the content filter {self.name}"
        given = self._owner.call(what, self._filter.identity, options)
        plain = self._owner.call(what, lambda: dict(given) if isinstance(given, Mapping) else None)
        if plain is None or not is_json(plain):
            raise self._owner.blamed(what, Garbage(f"{what} returned {shown(given)}; a dict of plain JSON is needed"))
        return plain

    def open(self, options: FilterOptions) -> OpenedContainedFilter:
        """Make the filter ready.

        Raises:
            BioclipError: if that is not possible, or it gives something else than an opened filter.
        """
        what = f"open of the content filter {self.name}"
        opened = self._owner.call(what, self._filter.open, options)
        return self._owner.call(what, lambda: OpenedContainedFilter(opened, self.name, self._owner))


class OpenedContainedFilter:
    """A content filter of a plugin that is ready."""

    def __init__(self, opened: Any, name: str, owner: Owner) -> None:
        from bioclip_core.preprocessing import Preprocessing

        preprocessing, batch_size = getattr(opened, "preprocessing", None), getattr(opened, "batch_size", None)
        if not callable(getattr(opened, "score", None)):
            raise Garbage(f"the content filter {name} opened as {shown(opened)}; an object with score is needed")
        if preprocessing is not None and not isinstance(preprocessing, Preprocessing):
            raise Garbage(
                f"the content filter {name} has the preprocessing {shown(preprocessing)}; a Preprocessing or None is needed"
            )
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or not 1 <= batch_size <= MOST_AT_ONCE:
            raise Garbage(
                f"the content filter {name} has the batch_size {shown(batch_size)}; a whole number from 1 to {MOST_AT_ONCE:,} is needed"
            )
        self.preprocessing: Preprocessing | None = preprocessing
        self.batch_size = batch_size
        self._opened, self._name, self._owner = opened, name, owner

    def score(self, records: Sequence[FilterRecord]) -> list[float | None]:
        """Return a finite score or None per record.

        Raises:
            PluginError: if the filter fails, or gives something else.
        """
        what = f"score of the content filter {self._name}"
        given = self._owner.call(what, self._opened.score, list(records))
        return self._owner.call(what, checked_scores, given, len(records), what)


def checked_scores(given: Any, count: int, what: str) -> list[float | None]:
    """Return one finite number or None per record, as plain ones."""
    if isinstance(given, (str, bytes)) or not hasattr(given, "__len__") or not hasattr(given, "__iter__"):
        raise Garbage(f"{what} returned {shown(given)}; a list of numbers is needed")
    scores = list(given)
    if len(scores) != count:
        raise Garbage(f"{what} returned {len(scores)} scores for {count} records; one per record is needed")
    for score in scores:
        is_number = isinstance(score, numbers.Real) and not isinstance(score, bool)
        if score is not None and not (is_number and math.isfinite(score)):
            raise Garbage(f"{what} gave the score {shown(score)}; a finite number or None is needed")
    return [None if score is None else float(score) for score in scores]
