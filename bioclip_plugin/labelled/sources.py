"""Labelled items for training, from what the sources list: tables, folder trees named by taxon, reviews of a store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path, PurePath
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.errors import SourceError
from bioclip_core.names import clean_name, parse_name
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.formats.shared.table_files import rows_of
from bioclip_plugin.formats.shared.table_rows import Row, items_of
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, path_of, uri_of
from bioclip_plugin.sources.folder import FolderSource
from bioclip_training.catalog.rows import Box, LabelledItem
from bioclip_training.catalog.sources import LabelledSource, LeftOut

NOT_LISTED = "not listed"
_SQLITE = b"SQLite format 3\x00"
_STORE_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})
_STORE_ADDRESS = re.compile(r"^(sqlite|postgres(ql)?)(\+\w+)?:", re.IGNORECASE)
# iNat21's folders: a number, six ranks and the epithet, which may have underscores of its own.
_INAT21 = re.compile(r"^\d{5}_" + "_".join(f"(?P<{rank.value}>[^_]+)" for rank in RANKS[:6]) + r"_(?P<epithet>.+)$")
_SPLITS = frozenset({"train", "val", "test", "dev", "unseen", "training", "validation", "valid", "testing"})


def labelled_sources(addresses: Sequence[str]) -> list[LabelledSource]:
    """What a user named as sources of a catalog, each under the shortest name that tells it from the others.

    Raises:
        SourceError: for an address that is no table, no folder and no store.
    """
    kinds = [_kind_of(address) for address in addresses]
    names = _short_names(addresses)
    return [_source(address, kind, name) for address, kind, name in zip(addresses, kinds, names, strict=True)]


def _kind_of(address: str) -> str:
    if _STORE_ADDRESS.match(address):
        return "reviews"
    path = path_of(address)
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise SourceError(
            f"{uri_of(address)} does not exist; give a table (.csv, .tsv, .parquet), a folder tree named by taxon, or a store"
        )
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
    except OSError as error:
        raise SourceError(f"{uri_of(address)} cannot be read: {error.strerror or error}") from error
    if start == _SQLITE or path.suffix.lower() in _STORE_SUFFIXES:
        return "reviews"
    if TableSource().takes(address):
        return "table"
    raise SourceError(
        f"{uri_of(address)} is no table, folder or store; give a .csv, .tsv or .parquet file, a folder tree named by taxon, or a store"
    )


def _short_names(addresses: Sequence[str]) -> list[str]:
    """The last part of each address, with as many before it as tell it from the others."""
    names = []
    parts = [
        PurePath(path_of(address).absolute()).parts
        if not _STORE_ADDRESS.match(address)
        else (_without_secret(address),)
        for address in addresses
    ]
    for own in parts:
        count = 1
        while count < len(own) and sum(other[-count:] == own[-count:] for other in parts) > 1:
            count += 1
        names.append(uri_of("/".join(part.strip("/\\") for part in own[-count:])))
    if len(set(names)) < len(names):
        raise SourceError(
            f"a source is named twice: {', '.join(sorted({name for name in names if names.count(name) > 1}))}; name each once"
        )
    return names


def _without_secret(address: str) -> str:
    from bioclip_plugin.store.database.address import parse_address, shown

    return shown(parse_address(address))


def _source(address: str, kind: str, name: str) -> LabelledSource:
    if kind == "table":
        return LabelledSource(name, "table", lambda: table_items(address, name), path_of(address).parent)
    if kind == "folder":
        return LabelledSource(name, "folder", lambda: folder_items(address, name), path_of(address), moment_of)
    from bioclip_plugin.labelled.reviews import review_items

    return LabelledSource(name, "reviews", lambda: review_items(address, name), moment_of=moment_of)


# -- tables ------------------------------------------------------------------------------------------------------------


def table_items(address: str, source: str) -> Iterator[LabelledItem | LeftOut]:
    """One labelled item a row, since the rows of one image may have labels of their own.

    Raises:
        SourceError: if the table cannot be read or has no image column.
    """
    folder, shown = path_of(address).parent, uri_of(address)
    for row in rows_of(address):
        yield from _row_items(row, folder, shown, source)


def _row_items(row: Row | Unlisted, folder: Path, table: str, source: str) -> Iterator[LabelledItem | LeftOut]:
    if isinstance(row, Unlisted):
        yield LeftOut(row.uri, source, NOT_LISTED, row.reason)
        return
    if not row.image.strip():
        yield LeftOut(
            f"{table}#row={row.number}",
            source,
            NOT_LISTED,
            f"row {row.number} names no image in column {row.columns.image!r}",
        )
        return
    cells = {name: value for name, value in row.values.items() if name != row.columns.image}
    for item in items_of([row], folder, table):
        if isinstance(item, Unlisted):
            yield LeftOut(row.image, source, NOT_LISTED, item.reason)
        else:
            yield _labelled(item, cells, source, _frame(cells), item.regions[0] if item.regions else None)


def _labelled(
    item: MediaItem, cells: Mapping[str, Any], source: str, frame: int, region: Region | None
) -> LabelledItem:
    box: Box | None = None if region is None else (region.x, region.y, region.w, region.h)
    return LabelledItem(item.uri, item.path, cells, source, frame, box)


def _frame(cells: Mapping[str, Any]) -> int:
    """A table's ``frame``, from 0, as our exports and catalogs write it."""
    cell = next((value for name, value in cells.items() if column_name(name) == "frame"), 0)
    try:
        return max(0, int(float(cell)))
    except (TypeError, ValueError, OverflowError):
        return 0


# -- folder trees ------------------------------------------------------------------------------------------------------


def folder_items(address: str, source: str) -> Iterator[LabelledItem | LeftOut]:
    """The images of a folder tree whose folders are named by taxa, from the top down.

    Read are a folder a rank or some of them (``Fagaceae/Quercus/robur``), binomials (``Quercus_robur``) and iNat21's
    ``00001_Animalia_…_epithet``. A folder called train, val or test gives the split, and one below the taxon's the group.
    """
    root = path_of(address)
    known: dict[Path, dict[str, str]] = {}
    for item in FolderSource().items(address):
        if isinstance(item, Unlisted):
            yield LeftOut(item.uri, source, NOT_LISTED, item.reason)
            continue
        assert item.path is not None
        folder = item.path.parent
        if folder not in known:
            known = {folder: taxon_of_folders(_below(folder, root))}  # a folder's files stand together
        yield LabelledItem(item.uri, item.path, known[folder], source)


def _below(folder: Path, root: Path) -> tuple[str, ...]:
    """The names of the folders from the root down; the root's own where the images lie in it."""
    below = folder.relative_to(root).parts
    return below or (root.resolve().name,)


def taxon_of_folders(names: Sequence[str]) -> dict[str, str]:
    """The cells that folders' names say, as a table's row would: ranks, ``split``, and ``group`` for what is below the taxon.

    >>> taxon_of_folders(["Quercus_robur", "tree 7"])
    {'verbatimScientificName': 'Quercus robur', 'genus': 'Quercus', 'specificEpithet': 'robur', 'group': 'Quercus_robur/tree 7'}
    """
    cells: dict[str, str] = {}
    rest: list[str] = []
    for place, name in enumerate(names):
        if name.lower() in _SPLITS and "split" not in cells and "genus" not in cells:
            cells["split"] = name
        elif "specificEpithet" in cells:
            rest.append("/".join(names[: place + 1]))
        elif found := _INAT21.match(name):
            cells |= {rank.value: found[rank.value] for rank in RANKS[:6]}
            cells["specificEpithet"] = found["epithet"].replace("_", " ")
        elif name.lower() not in _NO_TAXA and _WORDS.match(words := clean_name(name)):
            _add_name(cells, words, next_is_epithet=place + 1 < len(names) and bool(_EPITHET.match(names[place + 1])))
    if rest:
        cells["group"] = rest[0]
    return cells


# Endings that a family or order has in the codes of nomenclature, and kingdoms, which need none.
_ENDINGS = (("idae", "family"), ("aceae", "family"), ("iformes", "order"), ("ales", "order"), ("optera", "order"))
_KINGDOMS = frozenset(
    "animalia plantae fungi chromista protozoa bacteria archaea viruses metazoa viridiplantae archaeplastida chloroplastida".split()
)
# Phyla, since a name below a kingdom is a genus as often.
_PHYLA = frozenset(
    "annelida arthropoda bryozoa chordata cnidaria echinodermata mollusca nematoda platyhelminthes porifera".split()
)
_PHYLUM_ENDINGS = ("phyta", "mycota")
# Folders that a collection has for other reasons.
_NO_TAXA = frozenset(
    "images image imgs img photos photo pictures media data dataset raw files jpg jpeg png tif misc other others unsorted".split()
)
_WORDS = re.compile(r"^[^\W\d_][^\d]*$")
_EPITHET = re.compile(r"^[^\W\d_A-Z][\w-]*$")


def _add_name(cells: dict[str, str], words: str, *, next_is_epithet: bool) -> None:
    """One folder's name: a binomial, an epithet below its genus, or a name at the rank that its ending or its place tells."""
    genus, epithet = parse_name(words).binomial
    if epithet:
        cells |= {"verbatimScientificName": words, "genus": genus, "specificEpithet": epithet}
    elif "genus" in cells and words[0].islower():
        cells |= {"verbatimScientificName": f"{cells['genus']} {words}", "specificEpithet": words}
    elif words.lower() in _KINGDOMS:
        cells["kingdom"] = words
    elif next_is_epithet and words.lower() not in _SPLITS:
        cells["genus"] = words
    else:
        is_phylum = words.lower() in _PHYLA or words.lower().endswith(_PHYLUM_ENDINGS)
        ending = next((rank for end, rank in _ENDINGS if words.lower().endswith(end)), "phylum" if is_phylum else "")
        cells[ending or _next_rank(cells)] = words


def _next_rank(cells: Mapping[str, str]) -> str:
    """The rank of a name that no ending tells: the next one in a path with every rank from kingdom and phylum on, else the genus."""
    known = [rank.value in cells for rank in RANKS[:6]]
    unbroken = known[0] and known[1] and all(known[: sum(known)])
    return RANKS[min(sum(known), 5)].value if unbroken else "genus"


def moment_of(data: bytes) -> tuple[str, float] | None:
    """The camera of an image and when it was taken, in seconds; None where the file does not say when."""
    from bioclip_plugin.items.metadata import read_metadata

    said = read_metadata(data)
    if said.captured_at is None:
        return None
    wall_clock = said.captured_at.replace(tzinfo=UTC)  # one camera does not change its zone within a burst
    camera = " ".join(filter(None, (said.camera_make, said.camera_model, said.camera_serial_number)))
    return camera, wall_clock.timestamp()
