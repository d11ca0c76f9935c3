"""Groups that one source trains on and another one holds out: found before any image is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bioclip_core.cells import plain_cells
from bioclip_core.errors import DataError
from bioclip_training.catalog.options import HELD_OUT, KEEP, REFUSE
from bioclip_training.catalog.sources import LabelledSource, SkippedRow
from bioclip_training.catalog.splits import group_of, is_training, split_word

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Place:
    """First row of a group in one source and on one side of its splits."""

    source: str
    uri: str
    split: str

    def __str__(self) -> str:
        return f"in {self.split!r} in {self.source} (first: {self.uri})"


@dataclass(frozen=True, slots=True)
class Clash:
    """A group that two sources put on different sides."""

    group: str
    trained: Place
    held_out: Place


def find_clashes(sources: Sequence[LabelledSource], columns: Mapping[str, Sequence[str]]) -> list[Clash]:
    """Return the groups that are trained on in one source and held out in another one, in the order of the sources.

    A source that has a group on both of its own sides states it so, and is not in the list for that. Groups of bursts are not known
    before images are read; equal images are compared by their content later.

    Args:
        columns: per source the plain names of its group columns, from the survey.
    """
    if len(sources) < 2:
        return []
    # The first rows of a group on each side, at most two of different sources.
    seen: dict[str, tuple[list[Place], list[Place]]] = {}
    for source in sources:
        for item in source.items():
            if isinstance(item, SkippedRow):
                continue
            cells = plain_cells(item.cells)
            word = split_word(cells.get("split"))
            group = group_of(columns[source.name], cells, item, source.root) if word else ""
            if not group:
                continue
            places = seen.setdefault(group, ([], []))[is_training(word)]
            if len(places) < 2 and all(place.source != source.name for place in places):
                places.append(Place(source.name, item.uri, word))
    pairs = ((group, one, other) for group, (held, trained) in seen.items() for one in trained for other in held)
    clashes: dict[str, Clash] = {}
    for group, trained, held_out in pairs:
        if trained.source != held_out.source:
            clashes.setdefault(group, Clash(group, trained, held_out))
    return list(clashes.values())


def check_clashes(clashes: Sequence[Clash], decision: str) -> None:
    """Refuse groups on both sides, unless an option decides.

    Raises:
        DataError: with the first group, both sources, and the options.
    """
    if not clashes or decision != REFUSE:
        return
    first, count = clashes[0], len(clashes)
    others = ""
    if count > 1:
        named = ", ".join(clash.group for clash in clashes[1 : _SHOWN + 1])
        others = f"; {count - 1} other {'groups are' if count > 2 else 'group is'} so too ({named})"
    raise DataError(
        f"the splits of two sources clash: the group {first.group!r} is {first.trained} and {first.held_out}, so it would be trained "
        f"on and tested on{others}. Choose with --clashing-splits {HELD_OUT} (all of its rows are held out) or {KEEP} (as the sources "
        "say), correct a split column, or give --group-by another column if these are different things of one name"
    )
