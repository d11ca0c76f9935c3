"""Items of evaluation sets: read as their layouts or suites have them, with their images examined and their names resolved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from bioclip_core.errors import BioclipError, SourceError, UsageError
from bioclip_core.files.whole import replacing_file
from bioclip_core.findings import Findings
from bioclip_training.curation.columns import IMAGES, RANK_COLUMNS, RECORDS
from bioclip_training.curation.configuration import Curation, EvaluationSetConfig
from bioclip_training.curation.database import opened, parts_in, streamed
from bioclip_training.curation.imaging.images import PIECES, examine
from bioclip_training.curation.imaging.openers import UNPACKED, Openers
from bioclip_training.curation.imaging.tasks import TASK_COLUMNS
from bioclip_training.curation.manifests import UNFINISHED_FOLDER, part_file
from bioclip_training.curation.naming.stage import NamesStage
from bioclip_training.curation.records import check_archives, keyed
from bioclip_training.curation.stages import StageWork
from bioclip_training.published.known import recognise
from bioclip_training.published.layout import ReadOptions, check_settings
from bioclip_training.published.records import batches_of
from bioclip_training.suites.sets import EvaluationSet, chosen_sets, located

_RECORDS, _IMAGES, _NAMES = "records", "images", "names"


@dataclass(frozen=True, slots=True)
class EvaluationItems:
    """All items of all evaluation sets: folders of parts in the columns of the stages, with the set as the source."""

    records: Path
    images: Path
    names: Path


def check_sets(config: Curation) -> None:
    """Recognise every evaluation set.

    Raises:
        UsageError: for an unknown suite, layout or option.
        SourceError: if a folder does not hold its set.
    """
    for name, entry in sorted(config.evaluation_sets.items()):
        with _naming(name):
            if entry.suite:
                located(_one_set(entry), entry.path)
            else:
                layout, _ = recognise(entry.path, entry.layout)
                check_settings(layout, ReadOptions(settings=entry.options), entry.path)
                check_archives(entry.path)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the evaluation set in an error about it."""
    try:
        yield
    except BioclipError as error:
        raise type(error)(f"evaluation set {name}: {error}") from error


def evaluation_items(work: StageWork) -> EvaluationItems:
    """Read every evaluation set, look at its images, and resolve its names in the way of the training records.

    Images that were examined by an earlier call are not read again.

    Raises:
        SourceError: if a set is missing or cannot be read, with its name.
    """
    folder = work.temporary / "evaluation"
    found = EvaluationItems(folder / _RECORDS, folder / _IMAGES, folder / _NAMES)
    for place in (found.records, found.images, found.names):
        place.mkdir(parents=True)
    for name, entry in sorted(work.config.evaluation_sets.items()):
        with _naming(name):
            _write(found.records, name, RECORDS, _records(name, entry, work))
    _examine(found, work)
    config = replace(work.config, precedence=())  # of sources, which these are not
    scratch = folder / "scratch"
    scratch.mkdir()
    (found.names / UNFINISHED_FOLDER).mkdir()
    NamesStage().run(
        StageWork(found.names, {_RECORDS: found.records}, config, scratch, work.kept, work.threads, work.memory)
    )
    return found


def _write(folder: Path, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    table = pa.Table.from_batches(list(batches), schema).sort_by("key")
    with replacing_file(folder / part_file(name)) as draft:
        parquet.write_table(table, draft)


def _records(name: str, entry: EvaluationSetConfig, work: StageWork) -> Iterator[pa.RecordBatch]:
    for source in work.config.sources_at(entry.path):
        work.tally.note(
            f"evaluation set {name} is the folder or file of the source {source}, so that all of its images leak"
        )
    if entry.suite:
        yield from keyed(name, f"suite-{entry.suite}", _items_of_suite(name, entry, work))
        return
    layout, recognition = recognise(entry.path, entry.layout)
    for line in recognition.lines():
        work.tally.note(f"evaluation set {name}: {line.strip()}")
    options = ReadOptions(
        settings=entry.options, threads=work.threads, memory=work.memory // 2, work_folder=work.temporary
    )
    rows = 0
    for batch in keyed(name, layout.name, layout.read(entry.path, options)):
        rows += batch.num_rows
        yield batch
    if not rows:
        raise SourceError(f"{entry.path} has no item in the layout {layout.name}")
    for reason, count, example in options.skipped.found():
        work.tally.note(
            f"evaluation set {name}: not compared, {reason}: {count:,}" + (f" (such as {example})" if example else "")
        )


def _one_set(entry: EvaluationSetConfig) -> EvaluationSet:
    sets = chosen_sets((entry.suite,))
    if len(sets) > 1:
        listed = ", ".join(one.name for one in sets)
        raise UsageError(f"suite {entry.suite} is several sets ({listed}): give each of them as an evaluation set")
    return sets[0]


def _items_of_suite(name: str, entry: EvaluationSetConfig, work: StageWork) -> Iterator[pa.RecordBatch]:
    """Yield the images of a set that ``evaluate --suite`` reads, as records: file, ranks and the word of the class."""
    wanted = _one_set(entry)
    folder, (needs, _, read) = located(wanted, entry.path)
    findings = Findings()
    images = read(folder, findings)
    work.tally.note(f"evaluation set {name}: read as {wanted.title}: {needs}")
    for line in findings.lines():
        work.tally.note(f"evaluation set {name}: {line}")
    yield from batches_of(
        {
            "record_id": uri,
            "uri": (images.root / uri).relative_to(entry.path).as_posix(),
            "caption": "" if images.taxa else images.classes[number],
            **(dict(zip(RANK_COLUMNS, images.taxa[number].lineage, strict=True)) if images.taxa else {}),
        }
        for uri, number in zip(images.uris, images.class_N.tolist(), strict=True)
    )


def _examine(found: EvaluationItems, work: StageWork) -> None:
    sets = work.config.evaluation_sets
    records = parts_in(found.records)
    with (
        Openers({name: entry.path for name, entry in sets.items()}, work.kept / UNPACKED) as openers,
        opened(work) as database,
    ):
        holders = database.execute(
            f"SELECT DISTINCT source, split_part(uri, '#', 1) FROM {records} WHERE contains(uri, '#') ORDER BY ALL"
        ).fetchall()
        openers.unpack(holders, work.tally, work.progress)
        [(images,)] = database.execute(f"SELECT count(DISTINCT (source, uri)) FROM {records}").fetchall()
        columns = ", ".join(f'"{name}"' for name in TASK_COLUMNS)
        batches = streamed(database, f"SELECT {columns} FROM {records} ORDER BY source, uri, key", 4096)
        pieces = examine(
            batches, openers, work.kept / PIECES, images=images, threads=work.threads, progress=work.progress
        )
    tables = [parquet.read_table(work.kept / PIECES / f"{piece}.parquet", schema=IMAGES) for piece in pieces]
    _write(found.images, "all", IMAGES, iter(pa.concat_tables(tables).to_batches()))
