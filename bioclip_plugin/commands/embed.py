"""``bioclip-plugin embed``: images' features as a Parquet file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import click

from bioclip_plugin.cli import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import filled, force_option, options_from
from bioclip_plugin.commands.reporting import (
    Report,
    console_for,
    log_lines,
    printable,
    terminated_like_interrupted,
)
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.request import ClassifyRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from bioclip_plugin.items.answers import Answer, Failure
    from bioclip_plugin.items.media import MediaItem, Region
    from bioclip_plugin.running.engine import Engine

ENCODING = ("model", "batch_size", "workers", "device", "precision", "exact")
_ROWS_A_GROUP = 2048  # of 768 float32 each: 6 MB
_SHOWN_FAILURES = 10
_BOX = ("region_x", "region_y", "region_w", "region_h")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATHS...")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The Parquet file to write.")
@options_from(ClassifyRequest, only=ENCODING)
@options_from(ListingOptions)
@force_option
@click.pass_context
def embed(ctx: click.Context, /, paths: tuple[str, ...], output: Path, force: bool, **options: Any) -> int:
    """Write the features of images to a Parquet file: a row a region, L2-normalised, in the order of the listing.

    PATHS are folders, files, tables with an image column, or - for paths on standard input. Columns: uuid (of uri, frame
    and box), uri, frame, region_x/y/w/h (empty: the whole image), emb (list of float32). The file's metadata says what
    made them. An image that cannot be read is named and left out; the exit code is then 3.

    \b
    bioclip-plugin embed photos/ --model demo --output features.parquet
    """
    from bioclip_core.files.whole import check_output, whole_file
    from bioclip_plugin.running.engine import Engine
    from bioclip_plugin.running.listing import Listing

    check_output(output, force=force)
    plugins = plugins_of(ctx)
    console = console_for()
    listing = filled(ListingOptions, options)
    engine = Engine(filled(ClassifyRequest, options), plugins)
    report = Report("Embedding", console=console)
    with Listing(paths, plugins.sources(), listing, plugins.expand) as items:
        console.print(f"Model {engine.model.name}: {engine.model.preprocessing.described()}")
        with log_lines(console), terminated_like_interrupted(), whole_file(output, force=force) as draft, report:
            features = _Features(engine, items.counted(report.expect), report)
            rows = features.write(draft)
    return _summarise(console, features, rows, output)


class _Features:
    """The features of a listing on their way to a file, and what failed."""

    def __init__(self, engine: Engine, items: Iterator[Any], report: Report) -> None:
        self._engine = engine
        self._items = items
        self.report = report
        self.failures: Counter[tuple[str, str]] = Counter()

    def write(self, path: Path) -> int:
        """Write the file, a row group in memory at a time; how many rows it has."""
        import pyarrow as pa
        from pyarrow import parquet

        schema = _schema(self._engine)
        rows = self._rows()
        count = 0
        # Features do not repeat, so that a dictionary of them would only cost time.
        with parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=["uri"]) as writer:
            while group := list(islice(rows, _ROWS_A_GROUP)):
                writer.write_table(_table(pa, group, schema))
                count += len(group)
        return count

    def _rows(self) -> Iterator[tuple[MediaItem, Region | None, NDArray[np.float16]]]:
        from bioclip_plugin.running.pipeline import Pipeline

        for answer, vectors in Pipeline(self._engine, classify=False).features(self._items):
            self.report.advance()
            if answer.failure is not None:
                self._note(answer, answer.failure)
            else:
                whole: tuple[Region | None, ...] = () if answer.item.regions or answer.item.detected else (None,)
                regions = (*whole, *(region for region in answer.item.regions if region.classified))
                for region, vector in zip(regions, vectors, strict=True):
                    yield answer.item, region, vector

    def _note(self, answer: Answer, failure: Failure) -> None:
        self.failures[failure.stage, failure.reason] += 1
        if self.failures.total() <= _SHOWN_FAILURES:
            self.report.console.print(f"Failed: {printable(answer.item.uri)}: {failure.reason}")


def row_uuid(item: MediaItem, region: Region | None) -> str:
    """The same image, frame and box have the same identifier in every file; equal copies of an image do not share one."""
    box = "whole" if region is None else ",".join(map(str, region.box))
    return str(uuid5(NAMESPACE_URL, f"{item.uri}#frame={item.frame}&box={box}"))


def _schema(engine: Engine) -> Any:
    """``emb`` is a list of float32, what readers of features (emb-explorer among them) expect; float16 few can read."""
    import pyarrow as pa

    from bioclip_core import __version__
    from bioclip_core.identity import settings_id

    settings = engine.feature_settings
    about = {
        "feature_id": settings_id(settings),
        "feature_settings": settings,
        "dimension": engine.dimension,
        "model": {**engine.model.identity(), "name": engine.model.name},
        "bioclip_plugin": __version__,
    }
    fields = [("uuid", pa.string()), ("uri", pa.string()), ("frame", pa.int32()),
              *((name, pa.float64()) for name in _BOX), ("emb", pa.list_(pa.float32()))]  # fmt: skip
    return pa.schema(fields, metadata={"bioclip_plugin": json.dumps(about, sort_keys=True)})


def _table(pa: Any, group: list[tuple[MediaItem, Region | None, NDArray[np.float16]]], schema: Any) -> Any:
    import numpy as np

    vectors_RD = np.stack([vector for _, _, vector in group]).astype(np.float32)
    offsets = np.arange(len(group) + 1, dtype=np.int32) * vectors_RD.shape[1]
    boxes = [region.xywh if region else [None] * 4 for _, region, _ in group]
    columns = [
        pa.array([row_uuid(item, region) for item, region, _ in group]),
        pa.array([item.uri for item, _, _ in group]),
        pa.array([item.frame for item, _, _ in group], pa.int32()),
        *(pa.array([box[place] for box in boxes], pa.float64()) for place in range(4)),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors_RD.ravel())),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _summarise(console: Console, features: _Features, rows: int, output: Path) -> int:
    report, failed = features.report, features.failures.total()
    if not report.count:
        console.print("No images were found there.")
    console.print(
        f"{report.count} images, {report.count - failed} done, {failed} failed, {rows} regions; {report.rate:.1f} images/s"
    )
    if failed > _SHOWN_FAILURES:  # fewer were all named
        for (stage, reason), count in features.failures.most_common(_SHOWN_FAILURES):
            console.print(f"  {count} x {stage}: {reason}")
    console.print(f"Output: {output}")
    return EXIT_WITH_FAILURES if failed else EXIT_DONE
