"""``bioclip-plugin shards``: a catalog's images as WebDataset tars, and whether such tars are whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.cli import EXIT_COULD_NOT_RUN, EXIT_DONE, EXIT_INTERRUPTED, EXIT_WITH_FAILURES
from bioclip_plugin.commands.options import filled, force_option, options_from
from bioclip_plugin.commands.reporting import (
    Report,
    console_for,
    printable,
    size_of,
    terminated_like_interrupted,
)
from bioclip_training.shards.writing import ShardOptions

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_training.shards.manifest import Shard
    from bioclip_training.shards.writing import Written

_SHOWN = 5  # skipped images named in the summary; skipped.csv has all
_workers = click.option("--workers", type=click.IntRange(min=1), help="Threads.  [default: one a core, at most 16]")


@click.group()
def shards() -> None:
    """Write and check shards: WebDataset tars that `train` reads, for collections too large for single files.

    A small collection needs none: `train` reads its catalog directly.

    \b
    bioclip-plugin shards write catalog.parquet --output my_shards
    bioclip-plugin shards check my_shards
    """


@shards.command("write")
@click.argument("catalog", type=click.Path(path_type=Path), metavar="CATALOG")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The shards' folder, new or unfinished.")
@options_from(ShardOptions, omit=["shard_bytes"], samples_per_shard=None)
@click.option("--size-mb", type=click.FloatRange(min=0.001), help="Close a tar at this size (1,000,000 bytes) instead.")
@force_option
def write(
    catalog: Path, output: Path, size_mb: float | None, force: bool, **given: Any
) -> int:  # fmt: skip
    """Write a catalog's labelled regions as WebDataset tars: one image and one JSON member a sample.

    Images keep their size up to --max-side and their aspect; whole small JPEG files keep their bytes, and what is
    lossless and small stays so (PNG). The JSON member has the seven ranks, so captions are made at load. No tar mixes
    splits, and samples are in the order of a hash. An image that cannot be read is left out and listed in skipped.csv
    (exit code 3). After an interruption the same command goes on where it was.

    \b
    bioclip-plugin shards write catalog.parquet --output my_shards
    bioclip-plugin shards write catalog.parquet --output my_shards --split train --split val --size-mb 500
    """
    from bioclip_core.errors import UsageError

    if given["samples_per_shard"] is not None and size_mb is not None:
        raise UsageError("--samples-per-shard and --size-mb: a tar ends by one of them; leave the other out")
    if size_mb is None:
        given["samples_per_shard"] = given["samples_per_shard"] or 1000
    options = filled(ShardOptions, given, shard_bytes=round(size_mb * 1_000_000) if size_mb else None)
    return _write(catalog, output, options, force)


def _write(file: Path, output: Path, options: ShardOptions, force: bool) -> int:
    from bioclip_training.catalog.rows import Catalog
    from bioclip_training.shards.writing import write_shards

    console = console_for()
    catalog = Catalog.open(file)
    report = Report("Writing", unit="samples", console=console)

    def progress(done: int, total: int) -> None:
        if report.total is None:
            report.total = total
            report.already = report.count = done  # what an earlier call did
        report.advance(done - report.count)

    try:
        with terminated_like_interrupted(), report:
            written = write_shards(catalog, output, options, force=force, progress=progress)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where it was.")
        return EXIT_INTERRUPTED
    _summarise(console, written, output, report)
    return EXIT_WITH_FAILURES if written.skipped else EXIT_DONE


def _summarise(console: Console, written: Written, output: Path, report: Report) -> None:
    manifest = written.manifest
    if written.resumed_at == manifest.samples + manifest.skipped and not report.total:
        console.print("The shards were finished already; nothing was to do.")
    splits = ", ".join(f"{split or '(no split)'} {count}" for split, count in manifest.samples_of_splits().items())
    resumed = f"; {written.resumed_at} were done by an earlier call" if written.resumed_at and report.total else ""
    console.print(
        f"{manifest.samples} samples in {len(manifest.shards)} shards, {size_of(manifest.bytes)} ({splits}) "
        f"in {report.seconds:.1f} s{resumed}"
    )
    if written.skipped:
        console.print(f"{len(written.skipped)} images could not be read and were left out ({output / 'skipped.csv'}):")
        for key, reason in written.skipped[:_SHOWN]:
            console.print(f"  {printable(key)}: {reason}")
        if len(written.skipped) > _SHOWN:
            console.print(f"  and {len(written.skipped) - _SHOWN} more")
    console.print(f"Next: bioclip-plugin train --data {output}, or bioclip-plugin shards check {output}")


@shards.command("check")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option("--decode", is_flag=True, help="Also decode every image.")
@_workers
def check(folder: Path, decode: bool, workers: int | None) -> int:
    """Read every tar whole and compare it with the manifest: a line a damage, and exit code 1 where there is one.

    Found are shards that are missing, too many, truncated or changed, members without their partner, JSON that lacks
    ranks, counts and places that differ and, with --decode, images that cannot be decoded.

    \b
    bioclip-plugin shards check my_shards --decode
    """
    from bioclip_training.shards.checking import check_shards
    from bioclip_training.shards.manifest import Manifest

    console = console_for()
    manifest = Manifest.read(folder)
    report = Report("Checking", unit="samples", console=console)
    report.total = manifest.samples

    def progress(shard: Shard) -> None:
        report.advance(shard.samples)

    with report:
        problems = check_shards(folder, decode=decode, workers=workers or 0, progress=progress)
    for problem in problems:
        console.print(printable(str(problem)))
    if problems:
        damaged = len({problem.file for problem in problems})
        console.print(f"{len(problems)} problems in {damaged} files of {folder}.")
        console.print(f"bioclip-plugin shards write CATALOG --output {folder} --force makes the shards anew.")
        return EXIT_COULD_NOT_RUN
    decoded = "; every image decodes" if decode else ""
    console.print(
        f"All is whole: {manifest.samples} samples in {len(manifest.shards)} shards, {size_of(manifest.bytes)}{decoded}."
    )
    return EXIT_DONE
