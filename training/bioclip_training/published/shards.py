"""Published shards as sources of records: TreeOfLife's, img2dataset's output, and images with captions alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.collections import LOOKED_AT, NOT_SHARDS, first_holders, holders_in, root_of, samples_in
from bioclip_training.published.columns import RANK_COLUMNS
from bioclip_training.published.downloaded import DistributedDownloader
from bioclip_training.published.hashes import hash_of
from bioclip_training.published.held import HeldSample, Holder
from bioclip_training.published.img2dataset_tables import stats_of
from bioclip_training.published.layout import LayoutOption, ReadOptions, Recognition, check_settings, one_of, setting
from bioclip_training.published.placing import KnownRanks
from bioclip_training.published.records import batches_of
from bioclip_training.published.splits import SPLIT_WORDS, split_of
from bioclip_training.published.treeoflife import TREE_OF_LIFE_10M, TREE_OF_LIFE_200M

TREEOFLIFE, IMG2DATASET, CAPTIONS = "treeoflife-shards", "img2dataset", "image-captions"
MANIFEST_FILE = "shards.json"
"""Manifest of shards that were written here: they are a result and no source."""
_WITH_CATALOGS = (TREE_OF_LIFE_10M, TREE_OF_LIFE_200M, DistributedDownloader())
UNPLACED = "names have words whose rank nothing states; these words are left out"
PLACED = "names without the ranks of all their words were placed by other lineages of the shards"
NO_CAPTION = "images without a taxon and without a caption"


class _Shards:
    """What the layouts share: samples in tars, Parquet files and folders."""

    name = title = needs = ""
    options: tuple[LayoutOption, ...] = ()
    _because = ""
    _hashed: tuple[str, ...] = ()
    """Cells with hashes of the files that were fetched."""

    def recognise(self, path: Path) -> Recognition | None:
        kind, first = _kind_of(path)
        if kind != self.name or first is None:
            return None
        holders = holders_in(path, Findings())
        missing = self._missing(path, holders) if self.name == IMG2DATASET else ""
        return Recognition(
            layout=self.name,
            taken=((first.uri, "image; its key is the id of the record"), *self._taken(first)),
            confidence=self._because,
            missing=(missing,) if missing else (),
            files=tuple(root_of(path) / holder.name for holder in holders if holder.kind != "files"),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        holders = holders_in(path, options.findings)
        if not holders:
            raise SourceError(f"{shown_path(path)} is not {self.title}: needed is {self.needs}")
        count = 0
        for batch in batches_of(self._rows(path, holders, options)):
            count += batch.num_rows
            yield batch
        options.count("files", len(holders))
        options.count("records", count)
        if not count:
            raise SourceError(
                f"{shown_path(path)}: none of {number_of(len(holders), 'file')} holds a usable image: "
                f"{'; '.join([*options.skipped.lines(), *options.findings.lines()])}"
            )

    def _rows(self, path: Path, holders: list[Holder], options: ReadOptions) -> Iterator[Mapping[str, Any]]:
        known: set[tuple[str, ...]] = set()
        for done, holder in enumerate(holders):
            options.progress(done, len(holders))
            try:
                samples = list(samples_in(root_of(path), holder, options.findings, options.skipped))
            except SourceError as error:
                options.skip(NOT_SHARDS, str(error))
                continue
            known |= {sample.about.ranks[:5] for sample in samples if any(sample.about.ranks)}
            ranks = KnownRanks(known)
            split = split_of(f"{path.absolute().name}/{holder.name}")
            for sample in samples:
                if (row := self._row(sample, split, ranks, options)) is not None:
                    yield row
        options.progress(len(holders), len(holders))

    def _row(self, sample: HeldSample, split: str, known: KnownRanks, options: ReadOptions) -> Mapping[str, Any] | None:
        about, cells = sample.about, sample.about.cells
        ranks = about.ranks
        if not any(ranks) and about.has_taxon:
            ranks, is_sure = known.placed(about.taxonomic, about.scientific)
            options.findings.add(PLACED if is_sure else UNPLACED, about.taxonomic or about.scientific)
        if not any(ranks) and not about.scientific and not about.caption:
            options.skip(NO_CAPTION, sample.uri)
            return None
        stated = str(cells.get("split", "")).strip().lower()
        key = PurePosixPath(sample.key).name
        return {
            "record_id": _record_id(sample),
            "uri": sample.uri,
            "url": _text(cells, "url", "identifier"),
            "verbatim_name": about.scientific,
            **dict(zip(RANK_COLUMNS, ranks, strict=False)),
            "common_name": about.common_name,
            "caption": about.caption,
            "licence": _text(cells, "license", "licence"),
            "rights_holder": _text(cells, "rights_holder", "rightsholder", "author"),
            "published_split": SPLIT_WORDS.get(stated, stated) or split,
            "observation_id": _text(cells, "observation_id", "source_id"),
            "treeoflife_id": key if self.name == TREEOFLIFE else "",
            **{
                f"published_original_{kind}": hash_of(_text(cells, kind), kind, sample.uri, options.findings)
                for kind in self._hashed
            },
        }

    def _taken(self, first: HeldSample) -> Iterator[tuple[str, str]]:
        raise NotImplementedError

    @staticmethod
    def _missing(path: Path, holders: list[Holder]) -> str:
        without = [holder.name for holder in holders if not stats_of(path, holder).is_file()]
        if not without:
            return ""
        return f"_stats.json of {number_of(len(without), 'file')} (the first: {without[0]}): they may be unfinished"


class TreeOfLifeShards(_Shards):
    """The WebDataset shards of TreeOfLife-10M (ten text members per image) and TreeOfLife-200M."""

    name = TREEOFLIFE
    title = "TreeOfLife's shards"
    needs = "tars of KEY.jpg with KEY.taxonomic_name.txt, KEY.scientific_name.txt, KEY.sci.txt …"
    _because = "its samples have the text members of TreeOfLife's shards"

    def _taken(self, first: HeldSample) -> Iterator[tuple[str, str]]:
        yield "taxonTag.txt, else taxonomic_name.txt", "ranks"
        yield "scientific_name.txt", f"name ({first.about.scientific!r})"
        yield "common_name.txt", "common name, unless it repeats the scientific one"
        yield "folders and files named train, val …", "published split"


class Img2dataset(_Shards):
    """The output of img2dataset in its formats webdataset, parquet and files."""

    name = IMG2DATASET
    title = "the output of img2dataset"
    needs = "tars, Parquet files or folders 00000, 00001 … with images, txt and json, and 00000_stats.json beside them"
    _because = "its files have _stats.json beside them, as img2dataset writes them"
    _hashed = ("sha256", "md5")

    def _taken(self, first: HeldSample) -> Iterator[tuple[str, str]]:
        if first.about.has_taxon:
            yield "kingdom … species in JSON", "ranks"
        yield "txt, else caption in JSON", "caption"
        yield "url, license in JSON", "address and licence"
        yield "sha256, md5 in JSON", "hash of the file that was fetched, before it was made smaller"
        yield (
            "*_stats.json, *.parquet",
            "numbers and keys of images, which are compared, and addresses that were not fetched",
        )


class ImageCaptions(_Shards):
    """Images with captions and without a taxon, in WebDataset tars or in Parquet files with a column of images."""

    name = CAPTIONS
    title = "images with captions"
    needs = "tars of images with txt or JSON, Parquet files with a column of images and one of captions, or a table of image, caption"
    _because = "its samples are images with captions"
    options = (
        LayoutOption(
            "taxa",
            "keep (the default): names that some images have are read; ignore: captions alone are.",
            words=("keep", "ignore"),
        ),
    )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        ignores = setting(self, options, "taxa", "keep", one_of("keep", "ignore")) == "ignore"
        for batch in super().read(path, options):
            yield _without_taxa(batch) if ignores else batch

    def _taken(self, first: HeldSample) -> Iterator[tuple[str, str]]:
        yield "txt, else caption or text in JSON or a column", f"caption ({first.about.caption[:60]!r})"


def _without_taxa(batch: pa.RecordBatch) -> pa.RecordBatch:
    names = {"verbatim_name", "common_name", *RANK_COLUMNS}
    columns = [pa.repeat("", batch.num_rows) if name in names else batch.column(name) for name in batch.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _kind_of(path: Path) -> tuple[str, HeldSample | None]:
    """Return the layout of the shards in a folder with their first sample; nothing for what tells more in another layout."""
    holders = first_holders(path, most=LOOKED_AT) if path.is_dir() else holders_in(path, Findings())
    if not holders or (path / MANIFEST_FILE).is_file() or any(one.recognise(path) for one in _WITH_CATALOGS):
        return "", None
    first = _first_sample(root_of(path), holders[0])
    if first is None:
        return "", None
    if (first.about.taxonomic or first.about.captions) and holders[0].kind == "tar":
        return TREEOFLIFE, first
    if any((root_of(path) / holders[0].name).parent.glob("*_stats.json")):
        return IMG2DATASET, first
    return (CAPTIONS, first) if first.about.caption else ("", None)


def _first_sample(path: Path, holder: Holder) -> HeldSample | None:
    try:
        return next(samples_in(path, holder, Findings(), Findings()), None)
    except SourceError:
        return None


def _record_id(sample: HeldSample) -> str:
    """Return the name of the image in the collection, without its ending: the key where a sample has one image."""
    if not sample.member or sample.file.endswith(".parquet"):
        return sample.key if sample.member else sample.file.rpartition(".")[0]
    return sample.member.removeprefix("./").rpartition(".")[0]


def _text(cells: Mapping[str, Any], *names: str) -> str:
    return next((str(cells[name]).strip() for name in names if cells.get(name)), "")
