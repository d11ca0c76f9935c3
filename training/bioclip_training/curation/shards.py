"""Stage ``shards``: the records that are in a split, as WebDataset tars that ``train``, ``evaluate`` and ``shards check`` read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.documents import read_document
from bioclip_core.files.whole import replacing_file
from bioclip_core.listed_names import did_you_mean
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.imaging.images import opened_sources
from bioclip_training.curation.manifests import StageManifest
from bioclip_training.curation.shard_rows import CuratedRows
from bioclip_training.curation.stages import Stage, StageWork
from bioclip_training.shards.manifest import INDEX_FILE, MANIFEST_FILE, SKIPPED_FILE
from bioclip_training.shards.options import ShardOptions
from bioclip_training.shards.writing import Written, write_shards

LEAKAGE_FILES = ("leakage.json", "leakage.html")


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
            rows = CuratedRows(work, manifest.content, openers, _leakage(work))
            if not rows.counts:
                raise SourceError(
                    f"no record of {work.before['catalog']} is in a split, so that there is nothing to write; the column excluded and the "
                    "report say why; or set shards.write to false"
                )
            written = write_shards(rows, work.folder, options, progress=work.progress)
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
