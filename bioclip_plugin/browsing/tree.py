"""The taxa of a run as a tree in one order, in which each taxon and all below it are a span of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bioclip_core.lineages import join_taxa
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.store.database.schema import RANK_CODES

_OWN_WORDS = RANK_CODES[len(RANKS) :]
"""The levels of custom labels, which have words instead of a lineage."""


@dataclass(frozen=True, slots=True)
class TaxonNode:
    """A taxon, or the words of a custom label, and its place in the tree of a run."""

    name: str
    """The scientific name at its own rank, a binomial for a species; the words of a custom label."""
    rank: str
    """One of the seven ranks, ``label`` or ``group``."""
    lineage: tuple[str, ...]
    """Names of the seven ranks, kingdom first, unknown ones empty; all empty for a custom label."""
    common_name: str
    parent: int
    """Number of the nearest ancestor with a name; -1 at the top."""
    first: int
    """Its own number."""
    stop: int
    """The taxa below it are those from ``first + 1`` to before ``stop``."""

    @property
    def key(self) -> str:
        """The taxon in an address: the names from the kingdom down, so that hemihomonyms differ; see :func:`key_of`."""
        return key_of(self.lineage, self.rank, self.name)


Path = tuple[str, ...]
"""Names from the kingdom down to the last one known; custom labels begin with their level, behind an impossible name."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The nodes of a tree in order, and where given taxa are in it."""

    nodes: tuple[TaxonNode, ...]
    numbers: Mapping[int, int]
    """Number of the node by the key of the given mapping."""


def key_of(lineage: Sequence[str], rank: str, name: str) -> str:
    """Return a taxon's key for addresses.

    >>> key_of(("Animalia", "", "", "", "Canidae", "", ""), "family", "Canidae")
    'Animalia////Canidae'
    >>> key_of(("",) * 7, "label", "a dog/cat")
    'label:a dog%2Fcat'
    """
    if rank in _OWN_WORDS:
        return f"{rank}:{_escaped(name)}"
    return "/".join(map(_escaped, lineage)).rstrip("/")


def tree_of(taxa: Mapping[int, tuple[Taxon, str]]) -> Tree:
    """Return the tree of taxa and all their ancestors.

    Partial lineages of one taxon are one node where they agree (:func:`~bioclip_core.lineages.join_taxa`). A taxon whose
    lineage has a hole is below its nearest ancestor with a name.

    Args:
        taxa: each taxon with its level (a rank, ``label`` or ``group``), by any numbers.
    """
    of_lineage = {number: taxon for number, (taxon, level) in taxa.items() if level not in _OWN_WORDS and taxon.rank}
    joined = _joined(of_lineage)
    paths = {number: _path_of(joined.get(number, taxon), level) for number, (taxon, level) in taxa.items()}
    common: dict[Path, str] = {}
    for number, path in paths.items():
        common[path] = common.get(path) or taxa[number][0].common_name
    every = sorted({part for path in common for part in _with_ancestors(path)})
    places = {path: place for place, path in enumerate(every)}
    stops = _stops(every)
    nodes = tuple(_node(path, common.get(path, ""), places, stops[place], place) for place, path in enumerate(every))
    return Tree(nodes, {number: places[path] for number, path in paths.items()})


def _joined(taxa: Mapping[int, Taxon]) -> Mapping[int, Taxon]:
    """Return each taxon with its joined lineage; without holes there is nothing to join, which takes half a second for 5,000."""
    if not any("" in taxon.lineage[: taxon.rank.depth] for taxon in taxa.values() if taxon.rank):
        return taxa
    return dict(zip(taxa, join_taxa(list(taxa.values()))[0], strict=True))


def _path_of(taxon: Taxon, level: str) -> Path:
    if level in _OWN_WORDS or taxon.rank is None:
        return ("\x00", level if level in _OWN_WORDS else "label", taxon.name)
    return taxon.lineage[: taxon.rank.depth + 1]


def _with_ancestors(path: Path) -> Iterable[Path]:
    if path[0] == "\x00":
        return (path,)
    return (path[: depth + 1] for depth, name in enumerate(path) if name)


def _stops(paths: Sequence[Path]) -> list[int]:
    """Return where the span of each path ends, in a sorted list."""
    stops, opened = [0] * len(paths), list[int]()
    for place, path in enumerate(paths):
        while opened and path[: len(paths[opened[-1]])] != paths[opened[-1]]:
            stops[opened.pop()] = place
        opened.append(place)
    for place in opened:
        stops[place] = len(paths)
    return stops


def _node(path: Path, common_name: str, places: Mapping[Path, int], stop: int, place: int) -> TaxonNode:
    if path[0] == "\x00":
        return TaxonNode(path[2], path[1], ("",) * len(RANKS), common_name, -1, place, stop)
    taxon = Taxon.of(path, common_name)
    parents = (places[path[:depth]] for depth in range(len(path) - 1, 0, -1) if path[depth - 1])
    return TaxonNode(taxon.name, str(taxon.rank), taxon.lineage, common_name, next(parents, -1), place, stop)


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")
