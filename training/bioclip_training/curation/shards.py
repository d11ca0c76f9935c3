"""Stage ``shards``: the records that are in a split, as WebDataset tars that ``train``, ``evaluate`` and ``shards check`` read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.documents import read_document
from bioclip_core.files.whole import replacing_file
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.listed_names import did_you_mean
from bioclip_training.catalog.recorded import verified
from bioclip_training.catalog.rows import Catalog
from bioclip_training.curation.catalog import read_rows
from bioclip_training.curation.columns import RANK_COLUMNS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.imaging.images import opened_sources
from bioclip_training.curation.imaging.openers import Openers
from bioclip_training.curation.manifests import StageManifest
from bioclip_training.curation.stages import Stage, StageWork
from bioclip_training.shards.manifest import INDEX_FILE, MANIFEST_FILE, SKIPPED_FILE
from bioclip_training.shards.options import ShardOptions
from bioclip_training.shards.writing import Written, write_shards

LEAKAGE_FILES = ("leakage.json", "leakage.html")
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
_TEXTS = ("verbatim_name", "source", "taxon_id", "licence", "group", "split", "sha256")
_COLUMNS = (
    "key", "uri", *RANK_COLUMNS, "common", *_TEXTS, "record_id", "phash", "changes", *_BOX, "image_kind", "basis_of_record",
)  # fmt: skip


class CuratedCatalog(Catalog):
    """The records of a curation that are in a split, with their images in the published collections. Rows are in the order of keys."""

    made_again = "repeat curate"

    def __init__(self, folder: Path, content: str, openers: Openers, leakage: Mapping[str, Any]) -> None:
        """Read the rows.

        Args:
            folder: of the parts of the stage ``catalog``.
            content: identity of that stage's result.
            openers: images of the sources.
            leakage: what was found of each evaluation set.
        """
        rows = read_rows(folder, list(_COLUMNS))
        super().__init__(folder, _as_catalog(rows))
        self._content, self._openers = content, openers
        self._sources, self._uris = rows["source"].combine_chunks(), rows["uri"].combine_chunks()
        self.leakage = leakage

    @cached_property
    def identity(self) -> str:
        """Identity of the result of the stage ``catalog``."""
        return self._content

    def _place(self, row: int) -> tuple[str, str]:
        return self._sources[row].as_py(), self._uris[row].as_py()

    def path(self, row: int) -> Path:
        """Return the file that holds the row's image."""
        return self._openers.place(*self._place(row)).path or Path(self._place(row)[1])

    def encoded(self, row: int) -> EncodedRegion:
        """Return the bytes of the row's image with its region, compared with the sha256 that the stage ``images`` recorded.

        Raises:
            ImageError: if they cannot be read, or are other bytes.
        """
        data = verified(
            self._openers.read(*self._place(row)), self._columns["sha256"][row].as_py(), since="in the stage images"
        )
        return EncodedRegion(data, self.box(row), self.frame(row))


def _as_catalog(rows: pa.Table) -> pa.Table:
    """Return rows with the columns of a catalog for training; a uri begins with the name of its source."""
    uris = [f"{source}/{uri}" for source, uri in zip(rows["source"].to_pylist(), rows["uri"].to_pylist(), strict=True)]
    texts = {
        "uri": pa.array(uris, pa.string()),
        **{name: rows[name] for name in RANK_COLUMNS},
        "common_name": rows["common"],
        "verbatim_name": rows["verbatim_name"],
        "source": rows["source"],
        "source_id": rows["record_id"],
        **{name: rows[name] for name in ("taxon_id", "licence", "group", "split", "sha256")},
        "phash": pa.array([(entry or b"").hex() for entry in rows["phash"].to_pylist()], pa.string()),
    }
    others = {name: rows[name] for name in (*_BOX, "changes", "key", "image_kind", "basis_of_record")}
    return pa.table({**texts, "frame": pa.array([0] * rows.num_rows, pa.int32()), **others})


@dataclass(frozen=True)
class ShardsStage(Stage):
    """Write the shards."""

    name: str = "shards"
    version: int = 1
    needs: tuple[str, ...] = ("catalog", "leakage")

    def settings(self, config: Curation) -> dict[str, Any]:
        if not config.shards.write:
            return {"write": False}
        _check_splits(config)
        return asdict(config.shards)

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        if not config.shards.write:
            return {}
        return {f"source {name}": source.path for name, source in config.sources.items()}

    def run(self, work: StageWork) -> None:
        if not work.config.shards.write:
            work.tally.note("shards are not written: shards.write in the configuration")
            return
        config = work.config.shards
        options = ShardOptions(
            splits=config.splits, samples_per_shard=config.samples_per_shard, max_side=config.max_side, quality=config.quality,
            workers=work.threads,
        )  # fmt: skip
        manifest = StageManifest.read(work.before["catalog"])
        assert manifest is not None, "the stage catalog is finished"
        with opened_sources(work.config) as openers:
            catalog = CuratedCatalog(work.before["catalog"], manifest.content, openers, _leakage(work))
            if not len(catalog):
                raise SourceError(
                    f"no record of {work.before['catalog']} is in a split, so that there is nothing to write; the column excluded and the "
                    "report say why; or set shards.write to false"
                )
            written = write_shards(catalog, work.folder, options, progress=work.progress)
        _keep(work, written)


def _check_splits(config: Curation) -> None:
    """Refuse splits that no record can be in; published splits have any words."""
    splits = config.splits
    has_unseen = splits.unseen_species is not None or splits.unseen_share > 0
    known = ["train", *(["val"] if splits.val else []), *(["unseen"] if has_unseen else [])]
    for name in config.shards.splits:
        if name not in known and not splits.published:
            raise UsageError(
                f"shards.splits has {name!r}, which is not a split of this curation; its splits are {', '.join(known)}"
                f"{did_you_mean(name, known)}"
            )


def _leakage(work: StageWork) -> dict[str, Any]:
    """Return what was found of each evaluation set, without examples."""
    file = work.before["leakage"] / LEAKAGE_FILES[0] if "leakage" in work.before else Path()
    if not file.is_file():
        return {}
    report = read_document(file, dict[str, Any], name="leakage report")
    return {
        name: {
            "taxa": found["taxa"], "items": found["items"],
            "leaks": {
                kind: {key: leak[key] for key in ("records", "items", "excluded")} for kind, leak in sorted(found["leaks"].items())
            },
        }
        for name, found in sorted(report["evaluation_sets"].items())
    }  # fmt: skip


def _keep(work: StageWork, written: Written) -> None:
    """Count what was written, and have the files belong to the result."""
    manifest = written.manifest
    for key, reason in written.skipped:
        work.tally.drop("images that can no longer be read", 1, f"{key}: {reason}", is_failure=True)
    work.tally.read(manifest.samples + manifest.skipped)
    work.tally.wrote(manifest.samples)
    for split, samples in manifest.samples_of_splits().items():
        work.tally.count(f"samples of {split}", samples)
    for note in written.notes:
        work.tally.note(note)
    for shard in manifest.shards:
        work.keep(shard.file, shard.sha256)
    for name in LEAKAGE_FILES:
        file = work.before.get("leakage", Path()) / name
        if file.is_file():
            with replacing_file(work.folder / name) as draft:
                shutil.copyfile(file, draft)
            work.keep(name)
    for name in (MANIFEST_FILE, INDEX_FILE, *([SKIPPED_FILE] if manifest.skipped else [])):
        work.keep(name)
