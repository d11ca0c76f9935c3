"""Encyclopedia of Life (EOL), as TreeOfLife-10M took it: images named by content and page, the tree of taxa, vernacular names."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.nouns import number_of
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.eol_taxa import EolTaxa
from bioclip_training.published.layout import (
    BATCH_ROWS,
    LayoutOption,
    ReadOptions,
    Recognition,
    check_settings,
    setting,
)
from bioclip_training.published.reading.finishing import IMAGES, image_folder
from bioclip_training.published.reading.folders import folders_below, names_in
from bioclip_training.published.reading.hashed import image_names
from bioclip_training.published.reading.tables import has_columns, header_of, open_columns
from bioclip_training.published.records import batch_of

_NAME = re.compile(r"(\d+)_(\d+)_eol[^/]*\.\w+")
_TAR = re.compile(r".+\.(?:tar|tar\.gz|tgz)")
_LOOKED_AT = 200
_DEPTH = 2
_ENGLISH = ("en", "eng", "english")
NO_NAME = "files whose name is not CONTENT_PAGE_eol"
NO_PAGE = "images of pages that taxon.tab does not have; they have no name"
CUT = "archives are cut short; their images behind that place are not read"


def _languages(given: Any) -> list[str]:
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not listed or not all(isinstance(word, str) for word in listed):
        raise ValueError("must be a language or a list of them: en, or [en, eng, English]")
    return listed


class Eol:
    """EOL: ``{content}_{page}_eol*.jpg`` in folders or tars, ``taxon.tab``, and tables of vernacular names and of media."""

    name = "eol"
    title = "EOL"
    needs = (
        "images CONTENT_PAGE_eol….jpg in folders or in .tar.gz files, and taxon.tab (columns taxonID, parentNameUsageID, "
        "scientificName, taxonRank, eolID)"
    )
    options = (
        IMAGES,
        LayoutOption(
            "language",
            "Language of the common names, as the table writes it, or a list (default: en, eng, English).",
            read=_languages,
        ),
    )

    def recognise(self, path: Path) -> Recognition | None:
        if not path.is_dir():
            return None
        tables = _tables(path)
        # Rare Species and other sets have images of EOL, and keep their names: they lie in folders, beside other tables.
        first = next(_first_names(path, _DEPTH if "taxa" in tables else 0), "")
        if not first:
            return None
        taken = [(first, "image: id of the content, id of the page")]
        meanings = {
            "taxa": "names and ranks of pages, by the chain of parents",
            "vernacular": "common names of pages",
            "media": "address, licence and rights holder of images",
        }
        missing = [f"{meanings[kind]}: no such table" for kind in meanings if kind not in tables]
        taken += [(tables[kind].name, meaning) for kind, meaning in meanings.items() if kind in tables]
        return Recognition(
            layout=self.name,
            taken=tuple(taken),
            confidence="its images are named CONTENT_PAGE_eol, as EOL's are",
            missing=tuple(missing),
            files=tuple(tables.values()),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        tables = _tables(path)
        if "taxa" not in tables:
            raise SourceError(
                f"{shown_path(path)} lacks taxon.tab, EOL's tree (columns taxonID, parentNameUsageID, scientificName, taxonRank, eolID): "
                "without it pages have no names"
            )
        taxa = EolTaxa(tables["taxa"], options)
        options.count("taxa", len(taxa))
        languages = setting(self, options, "language", _ENGLISH, _languages)
        names = _vernacular(tables["vernacular"], languages, options) if "vernacular" in tables else {}
        media = _Media(tables.get("media"), options)
        folder = image_folder(self, path, options, ("",))
        count = 0
        for found in _in_batches(_images(path, folder, options)):
            batch = _record_batch(found, taxa, names, languages[0], media, options)
            count += batch.num_rows
            yield batch
        options.count("image files", count)
        if not count:
            raise SourceError(f"{shown_path(path)} holds no image named CONTENT_PAGE_eol; give images: FOLDER")


def _first_names(path: Path, depth: int) -> Iterator[str]:
    """Yield names of EOL's images from the top of a folder, and of the first members of its tars."""
    for folder in folders_below(path, depth):
        for number, entry in enumerate(names_in(folder)):
            if number > _LOOKED_AT:
                break
            if _NAME.fullmatch(entry):
                yield entry
            elif _TAR.fullmatch(entry):
                yield from (
                    name for name in _members(folder / entry, most=3) if _NAME.fullmatch(name.rsplit("/", 1)[-1])
                )


def _tables(path: Path) -> dict[str, Path]:
    """Return the tables of taxa, vernacular names and media that lie near the top, by their columns."""
    found: dict[str, Path] = {}
    for folder in folders_below(path, _DEPTH):
        for file in (folder / name for name in names_in(folder) if name.endswith((".tab", ".csv", ".tsv", ".txt"))):
            header = header_of(file)
            for kind, columns in (
                ("taxa", ("taxonID", "parentNameUsageID", "eolID")),
                ("vernacular", ("page_id", "vernacular_string")),
                ("vernacular", ("eolID", "vernacularName")),
                ("media", ("EOL content ID", "EOL page ID")),
            ):
                if has_columns(header, *columns):
                    found.setdefault(kind, file)
    return found


def _members(path: Path, options: ReadOptions | None = None, most: int = 0) -> Iterator[str]:
    """Yield the names of the files in a tar. One that is cut short is reported, and ends where it is cut."""
    count = 0
    try:
        with tarfile.open(path, "r|*", errorlevel=1, errors="surrogateescape") as tar:
            for member in tar:
                if member.isfile():
                    count += 1
                    yield member.name
                if most and count >= most:
                    return
                tar.members = []  # type: ignore[attr-defined]  # a million of them would fill the memory
        if options is not None and not _is_whole(path):
            options.findings.add(CUT, f"{path.name}, after {number_of(count, 'file')}")
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if options is not None:
            options.findings.add(CUT, f"{path.name}, after {number_of(count, 'file')}: {error}")


def _is_whole(path: Path) -> bool:
    """True unless the file is an uncompressed tar without the zeros at its end."""
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b" or path.stat().st_size < 1024:
            return True  # a gzip file that is cut raises an error
        file.seek(-512, 2)
        return not file.read().strip(b"\0")


def _images(path: Path, folder: str, options: ReadOptions) -> Iterator[tuple[str, str, str]]:
    """Yield uri, content and page of each image."""
    for name in image_names(path, folder, options=options):
        if found := _NAME.fullmatch(name.rsplit("/", 1)[-1]):
            yield name, found[1], found[2]
        else:
            options.skip(NO_NAME, name)
    for place in folders_below(path / folder, _DEPTH):
        for tar in sorted(entry for entry in place.iterdir() if _TAR.fullmatch(entry.name)):
            name = tar.relative_to(path).as_posix()
            for member in _members(tar, options):
                if found := _NAME.fullmatch(member.rsplit("/", 1)[-1]):
                    yield f"{name}#{member}", found[1], found[2]
                else:
                    options.skip(NO_NAME, f"{name}#{member}")


def _in_batches(images: Iterator[tuple[str, str, str]]) -> Iterator[list[tuple[str, str, str]]]:
    waiting: list[tuple[str, str, str]] = []
    for image in images:
        waiting.append(image)
        if len(waiting) == BATCH_ROWS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _vernacular(path: Path, languages: Sequence[str], options: ReadOptions) -> dict[str, str]:
    """Return one common name per page: that which EOL prefers, then that which its source prefers, then the first."""
    wanted = {
        "page": ["page_id", "eolID"],
        "name": ["vernacular_string", "vernacularName"],
        "language": ["language_code", "language"],
        "eol": ["is_preferred_by_eol"],
        "source": ["is_preferred_by_resource", "isPreferredName"],
    }
    known = pa.array([language.lower() for language in languages])
    best: dict[str, tuple[int, str]] = {}
    for batch in open_columns(path, options.findings, options.table).columns(wanted):
        batch = batch.filter(pc.is_in(pc.utf8_lower(batch.column("language")), known))
        for page, name, _, by_eol, by_source in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            worth = 2 * _is_true(by_eol) + _is_true(by_source)
            if name and (page not in best or worth > best[page][0]):
                best[page] = worth, name
    options.count("common names", len(best))
    return {page: name for page, (_, name) in best.items()}


def _is_true(cell: str) -> bool:
    return cell.lower() in ("1", "true", "t", "yes", "preferred")


class _Media:
    """Address, licence and owner of images by EOL's content id; about 110 bytes per image."""

    def __init__(self, path: Path | None, options: ReadOptions) -> None:
        wanted = {
            "content": ["EOL content ID"],
            "url": ["EOL Full-Size Copy URL", "Medium-Size URL"],
            "licence": ["License Name", "License"],
            "holder": ["Copyright Owner"],
        }
        batches = list(open_columns(path, options.findings, options.table).columns(wanted)) if path else []
        table = pa.Table.from_batches(batches, pa.schema([(name, pa.string()) for name in wanted]))
        table = table.filter(pc.match_substring_regex(table["content"], r"^\d{1,18}$"))
        contents = table["content"].cast(pa.int64()).to_numpy()
        order = np.argsort(contents, kind="stable")
        self._contents, self._rows = contents[order], order
        # Few licences and owners have many images.
        self._columns = [table["url"], table["licence"].dictionary_encode(), table["holder"].dictionary_encode()]

    def of(self, contents: Sequence[str]) -> list[pa.Array]:
        """Return the columns address, licence and owner for some images, empty where nothing is known."""
        if not len(self._contents):
            return [pa.repeat("", len(contents))] * 3
        wanted = np.array([int(content) for content in contents], np.int64)
        places = np.minimum(np.searchsorted(self._contents, wanted), len(self._contents) - 1)
        rows = pa.array(self._rows[places], mask=self._contents[places] != wanted)
        return [pc.fill_null(column.take(rows).cast(pa.string()).combine_chunks(), "") for column in self._columns]


def _record_batch(
    found: list[tuple[str, str, str]],
    taxa: EolTaxa,
    names: Mapping[str, str],
    language: str,
    media: _Media,
    options: ReadOptions,
) -> pa.RecordBatch:
    uri, content, page = (pa.array(column, pa.string()) for column in zip(*found, strict=True))
    rows = taxa.rows_of_pages(page)
    if (rows < 0).any():
        first = int((rows < 0).argmax())
        options.findings.add(NO_PAGE, f"page {page[first]}, {uri[first]}", int((rows < 0).sum()))
    common = [names.get(one, "") for _, _, one in found]
    url, licence, holder = media.of([one for _, one, _ in found])
    return batch_of(
        len(found),
        {
            **taxa.names_of(rows),
            "record_id": content,
            "uri": uri,
            "url": url,
            "source_taxon_id": page,
            "common_name": pa.array(common, pa.string()),
            "common_name_language": pa.array([language if one else "" for one in common], pa.string()),
            "licence": licence,
            "rights_holder": holder,
            "eol_content_id": content,
            "eol_page_id": page,
        },
    )
