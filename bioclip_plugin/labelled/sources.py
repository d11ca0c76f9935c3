"""Labelled items for training, from tables, folder trees named by taxon, and reviews of a store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath

from bioclip_core.cells import number_of, plain_cells
from bioclip_core.errors import SourceError
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import exists, is_folder
from bioclip_core.files.regular import open_regular
from bioclip_core.findings import Findings
from bioclip_core.names import NameKind, clean_name, judge_name, parse_name, verdict_of_word
from bioclip_core.naming.common_names import is_unlike_latin_epithet
from bioclip_core.naming.judging import judge_alone
from bioclip_core.naming.ranks import rank_by_name
from bioclip_core.tables.sheets import sheet_of
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.exported import is_exported
from bioclip_plugin.formats.shared.table_files import rows_of
from bioclip_plugin.formats.shared.table_rows import items_of
from bioclip_plugin.formats.tables.grouping import rows_by_image
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.items.media import Unlisted, path_of, uri_of
from bioclip_plugin.labelled.answers import reviewed_answer
from bioclip_plugin.labelled.moments import moment_of
from bioclip_plugin.labelled.plausible import check_ranks
from bioclip_plugin.labelled.published import published_source
from bioclip_plugin.labelled.published_options import PublishedOptions
from bioclip_plugin.labelled.reviews import review_items
from bioclip_plugin.sources.folder import FolderSource
from bioclip_plugin.store.database.address import parse_address, shown
from bioclip_training.catalog.rows import Box, LabelledItem
from bioclip_training.catalog.sources import LabelledSource, SkippedRow, SourceKind

NOT_LISTED = "not listed"
_SQLITE = b"SQLite format 3\x00"
_STORE_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})
_STORE_ADDRESS = re.compile(r"^(sqlite|postgres(ql)?)(\+\w+)?:", re.IGNORECASE)
# iNat21's folders: a number, six ranks and the epithet, which may have underscores of its own.
_INAT21 = re.compile(r"^\d{5}_" + "_".join(f"(?P<{rank.value}>[^_]+)" for rank in RANKS[:6]) + r"_(?P<epithet>.+)$")
_SPLITS = frozenset({"train", "val", "test", "dev", "unseen", "training", "validation", "valid", "testing"})


def labelled_sources(
    addresses: Sequence[str],
    options: ListingOptions | None = None,
    published: PublishedOptions | None = None,
    *,
    plain_labels: bool = False,
) -> list[LabelledSource]:
    """Return the sources of a catalog, each under the shortest name that tells it from the others.

    Args:
        addresses: tables, folders, published collections and stores.
        options: of reading tables; their findings are filled.
        published: of reading published collections.
        plain_labels: True if labels are words and not taxa.

    Raises:
        SourceError: for an address that is not a table, a folder, a published collection or a store, and for one that may be read
            in several ways.
    """
    options, published = options or ListingOptions(), published or PublishedOptions()
    sources = []
    for address, name in zip(addresses, _short_names(addresses), strict=True):
        may_be_published = not _STORE_ADDRESS.match(address) and exists(path_of(address))
        source = (
            published_source(address, name, options, published, plain_labels=plain_labels) if may_be_published else None
        )
        sources.append(source or _own_source(address, name, options, plain_labels=plain_labels))
    return sources


def _own_source(address: str, name: str, options: ListingOptions, *, plain_labels: bool) -> LabelledSource:
    kind = _kind_of(address)
    if kind == "table":
        if not plain_labels:
            check_ranks(address, options)
        return LabelledSource(
            name, kind, _Table(address, name, options), path_of(address).parent, date_order=options.date_order
        )
    if kind == "folder":
        return LabelledSource(name, kind, partial(folder_items, address, name), path_of(address), moment_of)
    return LabelledSource(name, kind, partial(review_items, address, name, options), moment_of=moment_of)


def _kind_of(address: str) -> SourceKind:
    if _STORE_ADDRESS.match(address):
        return "reviews"
    path, shown = sheet_of(path_of(address))[0], uri_of(address)
    if is_folder(path):
        return "folder"
    if not exists(path):
        raise SourceError(
            f"{shown} does not exist{near_hint(path)}; give a table (.csv, .tsv, .xlsx, .parquet), a folder tree named by taxon, or a store"
        )
    try:
        with open_regular(path) as file:
            is_sqlite = file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise SourceError(f"{shown} cannot be read: {error.strerror or error}") from error
    if is_sqlite or path.suffix.lower() in _STORE_SUFFIXES:
        return "reviews"
    if TableSource().takes(address):
        return "table"
    raise SourceError(
        f"{shown} is not a table, folder or store; give a .csv, .tsv, .xlsx or .parquet file, a folder tree named by taxon, or a store"
    )


def _short_names(addresses: Sequence[str]) -> list[str]:
    """Return the last part of each address, with as many parts before it as tell it from the others."""
    names = []
    parts = [
        (shown(parse_address(address)),)
        if _STORE_ADDRESS.match(address)
        else PurePath(path_of(address).absolute()).parts
        for address in addresses
    ]
    for own in parts:
        count = 1
        while count < len(own) and sum(other[-count:] == own[-count:] for other in parts) > 1:
            count += 1
        names.append(uri_of("/".join(part.strip("/\\") for part in own[-count:])))
    if len(set(names)) < len(names):
        repeated = ", ".join(sorted({name for name in names if names.count(name) > 1}))
        raise SourceError(f"sources given twice: {repeated}; give each once")
    return names


# -- tables ------------------------------------------------------------------------------------------------------------


class _Table:
    """The items of a table, which may be read several times; its findings are those of the first time."""

    def __init__(self, address: str, source: str, options: ListingOptions) -> None:
        self._address, self._source, self._options = address, source, options

    def __call__(self) -> Iterator[LabelledItem | SkippedRow]:
        options, self._options = self._options, replace(self._options, findings=Findings())
        return table_items(self._address, self._source, options)


def table_items(address: str, source: str, options: ListingOptions) -> Iterator[LabelledItem | SkippedRow]:
    """Yield one labelled item per row, since the rows of one image may have labels of their own.

    Raises:
        SourceError: if the table cannot be read or lacks an image column.
    """
    folder, table = path_of(address).parent, uri_of(address)
    values = None  # a catalog keeps the cells of a row and needs no time or place, so it asks about no date
    for row in rows_of(address, options, options.findings):
        for part in (row,) if isinstance(row, Unlisted) else rows_by_image(row, table, folder, options):
            if isinstance(part, Unlisted):
                yield SkippedRow(part.uri, source, NOT_LISTED, part.reason)
                continue
            if part.data is not None:
                reason = (
                    f"row {part.number}: the image is in the table itself; a catalog needs files, so write it to one"
                )
                yield SkippedRow(part.image, source, NOT_LISTED, reason)
                continue
            cells = {name: value for name, value in part.values.items() if name != part.columns.image}
            frame = number_of(plain_cells(cells).get("frame")) or 0  # from 0, as our exports and catalogs write it
            for item in items_of([part], folder, table, options, values):
                if isinstance(item, Unlisted):
                    yield SkippedRow(part.image, source, NOT_LISTED, item.reason)
                else:
                    boxes: list[Box] = [(box.x, box.y, box.w, box.h) for box in item.regions[:1]]
                    box = boxes[0] if boxes else None
                    labelled = LabelledItem(item.uri, item.path, cells, source, max(0, int(frame)), box)
                    yield reviewed_answer(labelled) if is_exported(part.values.keys()) else labelled


# -- folder trees ------------------------------------------------------------------------------------------------------


def folder_items(address: str, source: str) -> Iterator[LabelledItem | SkippedRow]:
    """Yield the images of a folder tree whose folders are named by taxa, from the top down.

    Names may be one folder per rank or some of the ranks (``Fagaceae/Quercus/robur``), binomials (``Quercus_robur``) and
    iNat21's ``00001_Animalia_…_epithet``. A folder called train, val or test gives the split, and one below the taxon's
    folder gives the group.
    """
    root = path_of(address)
    known: dict[Path, dict[str, str]] = {}
    for item in FolderSource().items(address):
        if isinstance(item, Unlisted):
            yield SkippedRow(item.uri, source, NOT_LISTED, item.reason)
            continue
        assert item.path is not None
        folder = item.path.parent
        if folder not in known:
            # The files of a folder come one after another. Images in the root have the root's own name.
            known = {folder: taxon_of_folders(folder.relative_to(root).parts or (root.resolve().name,))}
        yield LabelledItem(item.uri, item.path, known[folder], source)


def taxon_of_folders(names: Sequence[str]) -> dict[str, str]:
    """Return the cells of folders' names, as in a row of a table: ranks, ``split``, and ``group`` for folders below the taxon.

    >>> taxon_of_folders(["Quercus_robur", "tree 7"])
    {'verbatimScientificName': 'Quercus robur', 'genus': 'Quercus', 'specificEpithet': 'robur', 'group': 'Quercus_robur/tree 7'}
    """
    cells: dict[str, str] = {}
    code = unread = ""
    for place, name in enumerate(names):
        if "specificEpithet" in cells and verdict_of_word(name) in ("blank", "person", "vehicle"):
            return {**cells, "scientificName": name}  # "Vulpes_vulpes/empty": no image of it
        if name.lower() in _SPLITS and "split" not in cells and "genus" not in cells:
            cells["split"] = name
        elif "specificEpithet" in cells:
            cells["group"] = "/".join(names[: place + 1])
            break
        elif found := _INAT21.match(name):
            cells |= {rank.value: found[rank.value] for rank in RANKS[:6]}
            cells["specificEpithet"] = found["epithet"].replace("_", " ")
        elif (kind := judge_name(name).kind) is NameKind.FOLDER:
            code = name  # says nothing beside others
        elif _is_read(words := clean_name(name)):
            _add_name(cells, words, next_is_epithet=place + 1 < len(names) and _may_be_epithet(names[place + 1]))
        elif kind is not NameKind.SCIENTIFIC:
            code = name
        else:
            unread = words
    if not any(rank.value in cells for rank in RANKS) and "specificEpithet" not in cells and (code or unread):
        if code:
            cells.setdefault("scientificName", code)  # "OTU_12" is refused by its name
        elif "scientificName" not in cells:
            cells["verbatimScientificName"] = unread
    return cells


_WORDS = re.compile(r"^[^\W\d_][^\d]*$")
_EPITHET = re.compile(r"^[^\W\d_A-Z][\w-]*$")

_COPY = re.compile(r"[\s,-]*(?:\(\d{1,3}\)|(?:copy|copie|kopie|copia|kopia|kopio)\b[\s()\d]*| \d{1,3})$", re.IGNORECASE)
"""Marks of copied folders: "Vulpes vulpes (2)", "Vulpes vulpes - Kopie", "Vulpes_vulpes_2"."""
_WITH_YEAR = re.compile(r"([A-Z][a-z-]+ (?:[x×] )?[a-z-]{3,})(?: [^\d]+1[5-9]\d\d\)?| [^\d]+20\d\d\)?)?")


def _is_read(words: str) -> bool:
    """True for a folder's name without digits, or a Latin binomial whose digits are a year or the number of a copy."""
    if _WORDS.match(words):
        return True
    found = _WITH_YEAR.fullmatch(_COPY.sub("", words))
    return found is not None and judge_name(found[1]).is_name and not is_unlike_latin_epithet(found[1])


def _may_be_epithet(name: str) -> bool:
    return bool(_EPITHET.match(name)) and judge_name(name).is_name


def _add_name(cells: dict[str, str], words: str, *, next_is_epithet: bool) -> None:
    """Add one folder's name: a binomial, an epithet below its genus, or a name whose rank its ending or its place tells."""
    judgement = judge_name(words)
    is_epithet = "genus" in cells and words[0].islower() and " " not in words
    is_alone = not next_is_epithet and not any(rank.value in cells for rank in RANKS)
    if not (judge_alone(words) if is_alone and not is_epithet else judgement).is_name:
        cells["scientificName"] = words  # the catalog refuses it, unless a folder below has a name
        return
    cells.pop("scientificName", None)
    genus, epithet = parse_name(words).binomial
    if epithet:
        cells |= {"verbatimScientificName": words, "genus": genus, "specificEpithet": epithet}
    elif "genus" in cells and words[0].islower():
        cells |= {"verbatimScientificName": f"{cells['genus']} {words}", "specificEpithet": words}
    elif (known_rank := rank_by_name(words)) == "kingdom":
        cells["kingdom"] = words
    elif next_is_epithet and words.lower() not in _SPLITS:
        cells["genus"] = words
    else:
        known = [rank.value in cells for rank in RANKS[:6]]
        # Without a known ending: the next rank in a path with every rank so far, else the genus.
        follows = known[0] and known[1] and all(known[: sum(known)])
        cells[known_rank or (RANKS[min(sum(known), 5)].value if follows else "genus")] = words
