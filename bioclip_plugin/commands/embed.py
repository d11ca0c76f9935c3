"""``bioclip-plugin embed``: the features of images as a Parquet file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import click

from bioclip_core import __version__
from bioclip_core.files.whole import check_output, whole_file
from bioclip_core.findings import shortened
from bioclip_core.identity import settings_id
from bioclip_core.nouns import number_of
from bioclip_plugin.commands.context import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import count_unused, filled, force_option, options_from, output_option
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, log_lines, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.running.web_options import WebOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_plugin.items.media import MediaItem, Region
    from bioclip_plugin.running.engine import Engine
    from bioclip_plugin.running.listing import Entry
    from bioclip_plugin.running.pipeline import Pipeline

    Row = tuple[MediaItem, Region | None, NDArray[np.float16]]

_ROWS_PER_GROUP = 2048  # of 768 float32 each: 6 MB
_SHOWN_FAILURES = 10
_BOX = ("region_x", "region_y", "region_w", "region_h")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATHS...")
@output_option("Parquet file to write.")
@options_from(
    ClassifyRequest,
    only=[
        "model",
        "detector",
        "detection_threshold",
        "batch_size",
        "workers",
        "item_timeout",
        "device",
        "precision",
        "runtime",
        "exact",
    ],
)
@options_from(ListingOptions, omit=["detection_threshold"])
@options_from(WebOptions)
@force_option
@click.pass_context
def embed(ctx: click.Context, /, paths: tuple[str, ...], output: Path, force: bool, **options: Any) -> int:
    """Write the features of images to a Parquet file: one L2-normalised row per region, in the order of the listing.

    PATHS are folders, files, tables with an image column, or - for paths on standard input. Columns: uuid (of uri, frame
    and box), uri, frame, region_x/y/w/h (empty: the whole image), emb (list of float32). The metadata of the file names
    the model and the settings. An image that cannot be read is reported and skipped; the exit code is then 3.

    \b
    bioclip-plugin embed photos/ --model demo --output features.parquet
    """
    from bioclip_plugin.running.calibrating import with_int8_model
    from bioclip_plugin.running.engine import Engine
    from bioclip_plugin.running.fetched import Fetching
    from bioclip_plugin.running.listing import Listing
    from bioclip_plugin.running.pipeline import Pipeline

    check_output(output, force=force)
    plugins, console = plugins_of(ctx), console_for()
    request = filled(ClassifyRequest, options)
    listing_options = filled(ListingOptions, options, detection_threshold=request.detection_threshold)
    findings = listing_options.findings
    engine = Engine(request, plugins)
    work = _Embedding(engine, ProgressLine("Embedding", console=console))
    count_unused(ctx, WebOptions, "fetch", findings)
    fetching = Fetching(filled(WebOptions, options), findings)
    with closing(fetching), Listing(paths, plugins.sources(), listing_options, plugins.expand) as listing:
        console.print(f"Model {engine.model.name}: {engine.model.preprocessing.described()}")
        interrupts = interruptible(console, "Nothing was written; the same command starts again.")
        with log_lines(console), interrupts, whole_file(output, force=force) as draft, work.line:
            listed = listing.begun(listing.counted(work.line.expect))
            entries = with_int8_model(engine, listed, labels=False, fetching=fetching)
            pipeline = Pipeline(
                engine,
                classify=False,
                findings=findings,
                fetching=fetching,
                on_wait=lambda: work.line.remark(fetching.note()),
            )
            rows = _write(draft, engine, work.rows(pipeline, entries))
    reports = map(printable, (*findings.lines(), *fetching.lines()))
    print_lines(console, *work.lines(rows), *reports, f"Output: {output}")
    return EXIT_WITH_FAILURES if work.failed else EXIT_DONE


class _Embedding:
    """One call of the command: the rows of its file, and the numbers of its images."""

    def __init__(self, engine: Engine, line: ProgressLine) -> None:
        """Set up; a detector that cannot be used is reported now."""
        from bioclip_plugin.store.box_counts import BoxCounts

        self._detector, self._threshold = engine.detector, engine.request.detection_threshold
        self._boxes, self._failures = BoxCounts(), Counter[tuple[str, str]]()
        self.line = line

    @property
    def failed(self) -> int:
        """Number of images without a row."""
        return self._failures.total()

    def rows(self, pipeline: Pipeline, items: Iterator[Entry]) -> Iterator[Row]:
        """Yield one row per region; failures are counted, and the first ones printed."""
        for answer, vectors in pipeline.features(items):
            self.line.advance()
            if answer.failure is not None:
                self._failures[answer.failure.stage, answer.failure.reason] += 1
                if self.failed <= _SHOWN_FAILURES:
                    name = printable(shortened(answer.item.uri))
                    self.line.console.print(f"Failed: {name}: {answer.failure.reason}")
                continue
            self._boxes.add(answer.item.regions, self._threshold)
            whole: tuple[Region | None, ...] = () if answer.item.regions or answer.item.detected else (None,)
            regions = (*whole, *(region for region in answer.item.regions if region.classified))
            for region, vector in zip(regions, vectors, strict=True):
                yield answer.item, region, vector

    def lines(self, rows: int) -> Iterator[str]:
        """Yield the numbers of images, of boxes, and of failures by reason."""
        done, failed = self.line.count - self.failed, self.failed
        yield (
            f"{number_of(self.line.count, 'image')}, {done} done, {failed} failed, {number_of(rows, 'region')}; "
            f"{self.line.rate:.1f} images/s"
        )
        if self._detector is not None:
            yield from map(printable, self._boxes.lines((self._detector.name, self._detector.version), self._threshold))
        if failed > _SHOWN_FAILURES:  # fewer were all named
            for (stage, reason), count in self._failures.most_common(_SHOWN_FAILURES):
                yield f"  {count} x {stage}: {reason}"


def _write(path: Path, engine: Engine, rows: Iterator[Row]) -> int:
    """Write the file with one row group in memory at a time and return the number of rows."""
    from pyarrow import parquet

    schema, count = _schema(engine), 0
    # Features do not repeat, so a dictionary of them would only cost time.
    with parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=["uri"]) as writer:
        while group := list(islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(_table(group, schema))
            count += len(group)
    return count


def row_uuid(item: MediaItem, region: Region | None) -> str:
    """Return the identifier of an image, frame and box: the same in every file, and not shared by copies of an image."""
    box = "whole" if region is None else ",".join(map(str, region.box))
    return str(uuid5(NAMESPACE_URL, f"{item.uri}#frame={item.frame}&box={box}"))


def _schema(engine: Engine) -> Any:
    """Return the columns; ``emb`` is a list of float32, since few readers of features can read float16."""
    import pyarrow as pa

    settings = engine.feature_settings
    metadata = {
        "feature_id": settings_id(settings),
        "feature_settings": settings,
        "dimension": engine.dimension,
        "model": {**engine.model.identity(), "name": engine.model.name},
        "bioclip_plugin": __version__,
    }
    fields = [("uuid", pa.string()), ("uri", pa.string()), ("frame", pa.int32()),
              *((name, pa.float64()) for name in _BOX), ("emb", pa.list_(pa.float32()))]  # fmt: skip
    return pa.schema(fields, metadata={"bioclip_plugin": json.dumps(metadata, sort_keys=True)})


def _table(group: list[Row], schema: Any) -> Any:
    import numpy as np
    import pyarrow as pa

    vectors_RD = np.stack([vector for _, _, vector in group]).astype(np.float32)
    offsets = np.arange(len(group) + 1, dtype=np.int32) * vectors_RD.shape[1]
    boxes = [region.xywh if region else [None] * 4 for _, region, _ in group]
    columns = [
        pa.array([row_uuid(item, region) for item, region, _ in group]),
        pa.array([item.uri for item, _, _ in group]),
        pa.array([item.frame for item, _, _ in group], pa.int32()),
        *(pa.array([box[side] for box in boxes], pa.float64()) for side in range(4)),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors_RD.ravel())),
    ]
    return pa.Table.from_arrays(columns, schema=schema)
