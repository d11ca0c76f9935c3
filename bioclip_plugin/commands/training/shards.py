"""``bioclip-plugin shards``: a catalog's images as WebDataset tars, and checks of such tars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import UsageError
from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of, size_of
from bioclip_core.tables.options import PathOptions
from bioclip_plugin.commands.context import EXIT_COULD_NOT_RUN, EXIT_DONE, EXIT_WITH_FAILURES
from bioclip_plugin.commands.options import filled, force_option, options_from, output_option
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_lines, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.commands.training.next_steps import after_shards
from bioclip_training.shards.manifest import Manifest
from bioclip_training.shards.options import ShardOptions

if TYPE_CHECKING:
    from bioclip_training.shards.writing import Written

_SHOWN = 5  # skipped images named in the summary; skipped.csv has all
_MB = 1_000_000


@click.group()
def shards() -> None:
    """Write and check shards: WebDataset tars that `train` reads, for collections too large for single files.

    A small collection does not need them: `train` reads its catalog directly.

    \b
    bioclip-plugin shards write catalog.parquet --output my_shards
    bioclip-plugin shards check my_shards
    """


@shards.command("write")
@click.argument("catalog", type=click.Path(path_type=Path), metavar="CATALOG")
@output_option("Folder of the shards, new or unfinished.")
@options_from(ShardOptions, omit=["shard_bytes"], samples_per_shard=None)
@click.option("--size-mb", type=click.FloatRange(min=0.001), help="Close a tar at this size (1,000,000 bytes) instead.")
@options_from(PathOptions)
@force_option
def write(
    catalog: Path, output: Path, size_mb: float | None, replace_prefix: tuple[str, ...], force: bool, **given: Any
) -> int:
    """Write a catalog's labelled regions as WebDataset tars: one image and one JSON member per sample.

    Images keep their size up to --max-side and their aspect; small whole JPEG files keep their bytes, and small lossless
    images stay lossless (PNG). The JSON member has the seven ranks, so captions are made when it is read. No tar mixes
    splits, and samples are in the order of a hash. An image that cannot be read is skipped and listed in skipped.csv
    (exit code 3). After an interruption the same command continues.

    \b
    bioclip-plugin shards write catalog.parquet --output my_shards
    bioclip-plugin shards write catalog.parquet --output my_shards --split train --split val --size-mb 500
    """
    from bioclip_training.catalog.first_look import unused_prefix_lines
    from bioclip_training.catalog.rows import Catalog
    from bioclip_training.shards.writing import write_shards

    if given["samples_per_shard"] is not None and size_mb is not None:
        raise UsageError("--samples-per-shard and --size-mb: a tar ends by one of them; leave the other out")
    if size_mb is None:
        given["samples_per_shard"] = given["samples_per_shard"] or 1000
    options = filled(ShardOptions, given, shard_bytes=round(size_mb * _MB) if size_mb else None)
    console, opened = console_for(), Catalog.open(catalog, replace_prefix=replace_prefix)
    line = ProgressLine("Writing", unit="samples", console=console, resumed=True)
    with interruptible(console, "The same command continues."), line:
        written = write_shards(opened, output, options, force=force, progress=line.reach)
    unused = unused_prefix_lines([opened], replace_prefix)
    print_lines(console, *map(printable, unused), *_summary(written, output, line))
    return EXIT_WITH_FAILURES if written.skipped else EXIT_DONE


def _summary(written: Written, output: Path, line: ProgressLine) -> list[str]:
    manifest, skipped, worked = written.manifest, written.skipped, line.count > 0
    splits = ", ".join(f"{split or '(no split)'} {count}" for split, count in manifest.samples_of_splits().items())
    resumed = f"; an earlier call had done {written.resumed_at}" if written.resumed_at and worked else ""
    return [
        *map(printable, written.notes),
        "The shards were finished already; nothing was left to do."
        if written.resumed_at == manifest.samples + manifest.skipped and not worked
        else "",
        f"{number_of(manifest.samples, 'sample')} in {number_of(len(manifest.shards), 'shard')}, {size_of(manifest.bytes)} ({splits}) "
        f"in {line.seconds:.1f} s{resumed}",
        f"{number_of(len(skipped), 'image')} skipped, since not usable ({output / 'skipped.csv'}):" if skipped else "",
        *(f"  {printable(key)}: {reason}" for key, reason in skipped[:_SHOWN]),
        f"  and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else "",
        *after_shards(output),
    ]


@shards.command("check")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option("--decode", is_flag=True, help="Decode every image too.")
@options_from(ShardOptions, only=["workers"])
def check(folder: Path, decode: bool, workers: int | None) -> int:
    """Read every tar whole and compare it with the manifest: one line per damage, and exit code 1 if there is any.

    Reported are shards that are missing, surplus, truncated or changed, members without their partner, JSON that lacks
    ranks, counts and offsets that differ and, with --decode, images that cannot be decoded. Published shards
    (TreeOfLife's, img2dataset's) have no manifest: the check says what they hold, compares it with _stats.json, and names
    files that are truncated or damaged with what of them is usable.

    \b
    bioclip-plugin shards check my_shards --decode
    bioclip-plugin shards check TreeOfLife-10M/224x224
    """
    from bioclip_training.shards.checking import check_shards
    from bioclip_training.shards.collection import holds_published

    if folder.is_dir() and holds_published(folder):
        return _check_published(folder, decode=decode, workers=workers or 0)
    console, manifest = console_for(), Manifest.read(folder)
    with ProgressLine("Checking", unit="samples", console=console, total=manifest.samples) as line:
        problems = check_shards(
            folder, decode=decode, workers=workers or 0, progress=lambda shard: line.advance(shard.samples)
        )
    if problems:
        print_lines(
            console,
            *(printable(str(problem)) for problem in problems),
            f"{number_of(len(problems), 'problem')} in {number_of(len({problem.file for problem in problems}), 'file')} of {folder}.",
            f"This makes the shards again: {command('shards write', 'CATALOG', output=folder, force=True)}",
        )
        return EXIT_COULD_NOT_RUN
    console.print(
        f"All is whole: {number_of(manifest.samples, 'sample')} in {number_of(len(manifest.shards), 'shard')}, {size_of(manifest.bytes)}"
        f"{'; every image decodes' if decode else ''}."
    )
    return EXIT_DONE


def _check_published(folder: Path, *, decode: bool, workers: int) -> int:
    from bioclip_training.shards.checking_published import check_published

    console = console_for()
    with ProgressLine("Checking", unit="files", console=console) as line:
        found = check_published(folder, decode=decode, workers=workers, progress=line.reach)
    print_lines(
        console,
        *(printable(str(problem)) for problem in found.problems),
        *map(printable, found.remarks),
        f"Published shards: {number_of(found.images, 'usable image')} in {number_of(found.files, 'file')}, {size_of(found.bytes)}; "
        f"{found.with_taxon} with a taxon, {found.with_caption} with a caption"
        f"{'; every other image decodes' if decode and found.problems else '; every image decodes' if decode else ''}.",
    )
    if found.problems:
        console.print(
            f"{number_of(len(found.problems), 'problem')} in {number_of(len({one.file for one in found.problems}), 'file')}."
        )
        return EXIT_COULD_NOT_RUN
    return EXIT_DONE
