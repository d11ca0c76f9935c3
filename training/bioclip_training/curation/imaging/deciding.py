"""Which of several records of one image stays: decided by labels, sources and sizes, never by the order of rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from types import MappingProxyType

from bioclip_core.taxonomy import Rank
from bioclip_training.curation.columns import RANK_COLUMNS

Box = tuple[float, float, float, float]
Region = Box | None
"""A box, rounded as other programs may have done; None is the whole image."""
_BOX_DIGITS = 4
ENCOUNTER = timedelta(hours=1)
"""Time within which different moments of one source are of one encounter, so that its images are no copies of each other."""
_DEPTHS = {rank.value: rank.depth for rank in Rank}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record with a readable image, as far as duplicates depend on it."""

    key: str
    source: str
    record_id: str
    sha256: str
    box: Box | None
    pixels: int
    lineage: tuple[str, ...]
    """Clean names of the seven ranks; empty texts where unknown. The last one is the epithet."""
    rank: str
    """Rank of the label; empty for a record without one."""
    observation: str = ""
    event: str = ""
    moment: str = ""
    """Date with the time of day; empty if either is unknown."""

    @property
    def region(self) -> Region:
        if self.box is None:
            return None
        x, y, w, h = (round(value, _BOX_DIGITS) for value in self.box)
        return x, y, w, h

    @property
    def content(self) -> tuple[str, Region]:
        """The bytes and the region of them that the record is about."""
        return self.sha256, self.region

    @property
    def name(self) -> str:
        """The label in words."""
        depth = _DEPTHS.get(self.rank)
        if depth is None:
            return "nothing"
        return " ".join(filter(None, self.lineage[5:])) if self.rank == "species" else self.lineage[depth]

    @property
    def shown(self) -> str:
        return f"{self.source}: {self.record_id}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a record."""

    duplicate_of: str = ""
    """Key of the record that stays in its place."""
    kind: str = ""
    """``equal`` or ``near``, for a duplicate."""
    conflict: str = ""
    """How its label contradicts another one of the same bytes or the same original; such a record is left out."""


STAYS = Verdict()


@dataclass(frozen=True, slots=True)
class Preference:
    """Order of sources."""

    sources: Sequence[str]
    is_explicit: bool
    """True if the user gave the order, so that it counts more than the labels, and decides between labels that contradict."""

    def of(self, record: Candidate) -> tuple[int | str, ...]:
        """Return the sort key of a record: the smallest one stays."""
        place = self.sources.index(record.source)
        depth = _DEPTHS.get(record.rank, -1)
        return (depth < 0, place if self.is_explicit else 0, -depth, -record.pixels, place, record.key)


def are_compatible(one: Candidate, other: Candidate) -> bool:
    """True if two labels may be about one organism: the same species, or one of them above it, or no label.

    Names between kingdom and genus are only compared where a label ends there, since classifications differ.
    """
    depths = [_DEPTHS[record.rank] for record in (one, other) if record.rank]
    if len(depths) < 2:
        return True
    shared = min(depths)
    places = {0, shared} if shared < len(RANK_COLUMNS) - 1 else {0, shared - 1, shared}
    pairs = ((one.lineage[place], other.lineage[place]) for place in places)
    return all(a == b or not (a and b) for a, b in pairs)


def decided_equal(
    records: Iterable[Candidate],
    preference: Preference,
    copies: Mapping[tuple[str, Region], tuple[str, Region]] = MappingProxyType({}),
) -> dict[str, Verdict]:
    """Decide about records of equal bytes or of one original; regions of one image are not duplicates of each other.

    Args:
        records: all of them.
        preference: order of the sources.
        copies: the content that stands for another one, for copies of one original.

    Returns:
        The verdict of each record by its key.
    """
    verdicts: dict[str, Verdict] = {}
    contents: dict[tuple[str, Region], list[Candidate]] = defaultdict(list)
    for record in records:
        contents[copies.get(record.content, record.content)].append(record)
    for same in contents.values():
        verdicts |= _decided(sorted(same, key=preference.of), preference)
    return verdicts


def _decided(same: Sequence[Candidate], preference: Preference) -> dict[str, Verdict]:
    best = same[0]
    against = _first_contradiction(same)
    if against is None:
        return {record.key: _duplicate(record, best) for record in same}
    rivals = [record for record in same if record.rank and record.source == best.source]
    if preference.is_explicit and _first_contradiction(rivals) is None:
        return {
            record.key: _duplicate(
                record, best,
                "" if are_compatible(record, best) else f"{record.name}, but {best.name} in {best.source}, which counts more",
            )
            for record in same
        }  # fmt: skip
    names = " and ".join(sorted({record.name for record in against}))
    is_equal = len({record.sha256 for record in same}) == 1
    reason = f"{'equal bytes' if is_equal else 'copies of one original'} are labelled {names}"
    return {record.key: Verdict(conflict=reason) if record.rank else STAYS for record in same}


def _first_contradiction(records: Sequence[Candidate]) -> tuple[Candidate, Candidate] | None:
    distinct = {(record.lineage, record.rank): record for record in reversed(records)}
    pairs = combinations(sorted(distinct.values(), key=lambda record: record.key), 2)
    return next((pair for pair in pairs if not are_compatible(*pair)), None)


def _duplicate(record: Candidate, best: Candidate, conflict: str = "") -> Verdict:
    kind = "equal" if record.sha256 == best.sha256 else "near"
    return STAYS if record is best else Verdict(best.key, kind, conflict)


@dataclass(frozen=True, slots=True)
class NearPair:
    """Two records whose images look alike."""

    one: str
    other: str
    bits: int


@dataclass(slots=True)
class Apart:
    """Near pairs that are taken for different photographs, with the first pair of each reason."""

    counts: dict[str, tuple[int, str]]

    def add(self, reason: str, one: Candidate, other: Candidate) -> None:
        count, first = self.counts.get(reason, (0, ""))
        example = " and ".join(sorted((one.shown, other.shown)))
        self.counts[reason] = (count + 1, min(filter(None, (first, example))))


SAME_ENCOUNTER = "near images of one observation or event of a source stay apart as different photographs"
OTHER_TIME = "near images of one source that were taken shortly after each other stay apart"
OTHER_OBSERVATION = "near images of different observations of one source stay apart, unless they are nearly equal"
OTHER_LABEL = "near images with different labels stay apart as different organisms"
OTHER_REGION = "near regions of which one is a whole image stay apart"


def why_apart(one: Candidate, other: Candidate, bits: int, distance: int) -> str:
    """Return the reason why two near images are different photographs; empty if one may be a copy of the other.

    Args:
        one: a record.
        other: another one.
        bits: in which their hashes differ.
        distance: bits up to which images of different sources are copies. Specimens of one source are photographed alike, so that
            half of it counts between different observations of a source.
    """
    if (one.box is None) != (other.box is None) or (one.sha256 == other.sha256):
        return OTHER_REGION
    if one.source == other.source:
        pairs = ((one.observation, other.observation), (one.event, other.event))
        if any(mine and mine == its for mine, its in pairs):
            return SAME_ENCOUNTER
        if _is_soon_after(one.moment, other.moment):
            return OTHER_TIME
        if one.observation and other.observation and 2 * bits > distance:
            return OTHER_OBSERVATION
    return "" if are_compatible(one, other) else OTHER_LABEL


def _is_soon_after(one: str, other: str) -> bool:
    """True for two different moments of one encounter: within an hour."""
    if not one or not other or one == other:
        return False
    try:
        moments = [datetime.fromisoformat(text) for text in (one, other)]
        return abs(moments[0] - moments[1]) <= ENCOUNTER
    except (ValueError, TypeError):  # not a moment, or only one of them has a time zone
        return False


def decided_near(
    pairs: Sequence[NearPair], records: Mapping[str, Candidate], preference: Preference, distance: int
) -> tuple[dict[str, Verdict], Apart]:
    """Decide about records with near images: a record stays unless it is near one that stays and is preferred.

    A record that is within the distance of a copy, and near what the copy was made from, is a copy of that, too. Chains go no
    further, so that a row of similar photographs is not taken for one.

    Args:
        pairs: near pairs, of which some are further apart than the distance.
        records: every record of the pairs by its key; only those that may stay.
        preference: order of the sources.
        distance: bits up to which two images are copies of one.

    Returns:
        The verdicts of duplicates by key, and the pairs that stay apart.
    """
    apart = Apart({})
    near: dict[str, dict[str, int]] = defaultdict(dict)
    for pair in pairs:
        one, other = records[pair.one], records[pair.other]
        if reason := why_apart(one, other, pair.bits, distance):
            apart.add(reason, one, other)
            continue
        near[pair.one][pair.other] = near[pair.other][pair.one] = pair.bits
    verdicts: dict[str, Verdict] = {}
    for record in sorted((records[key] for key in near), key=preference.of):
        around = near[record.key]
        close = {key for key, bits in around.items() if bits <= distance}
        seen = {verdicts[key].duplicate_of or key for key in close if key in verdicts}
        staying = [key for key in seen if key in around and verdicts.get(key) == STAYS]
        best = min(staying, key=lambda key: preference.of(records[key]), default=None)
        verdicts[record.key] = STAYS if best is None else Verdict(best, "near")
    return {key: verdict for key, verdict in verdicts.items() if verdict != STAYS}, apart
