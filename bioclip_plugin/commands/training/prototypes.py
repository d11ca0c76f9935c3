"""``bioclip-plugin prototypes``: a label set of example images, alone or joined to text labels, in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.cli import EXIT_DONE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.options import compute_options, force_option, model_option
from bioclip_plugin.commands.reporting import Report, console_for, log_lines, print_table, printable

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_core.encoder import Encoder
    from bioclip_core.labels.joining import JoinFit
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_core.models import FoundModel
    from bioclip_training.catalog.rows import Catalog
    from bioclip_training.evaluation.features import FeatureBook
    from bioclip_training.evaluation.prototyping import Accuracy, Sample

_SHOWN = 10
_OWN, _TEXT = "own", "text"


@click.group()
def prototypes() -> None:
    """Make label sets of example images: what to try before training.

    \b
    bioclip-plugin prototypes build --data birds.parquet --model bioclip-2 --output my_birds
    bioclip-plugin classify photos/ --model bioclip-2 --labels my_birds
    """


@prototypes.command("build")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    metavar="CATALOG",
    help="What `catalog build` made: labelled images.",
)
@model_option
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The label set's folder.")
@click.option("--split", default="train", show_default=True, help="The part that the examples are; all is every image.")
@click.option(
    "--join",
    metavar="LABELS",
    help="A label set of text to join the prototypes to: its folder, own (the one that the model has), "
    "or text (the names of all taxa of the catalog).",
)
@compute_options
@force_option
@click.pass_context
def build(
    ctx: click.Context, /, data: Path, model: str, output: Path, split: str, join: str | None, **options: Any
) -> int:
    """Build a label set whose labels are the mean features of example images, one of each taxon.

    No training: the images are encoded once. Alone, it answers with the taxa that have examples and nothing else. With
    --join it is added to a label set of text, and scale and bias are fitted so that old and new names compare. Accuracy
    on images held out (the parts dev and val, where the catalog has them) is printed beside that of text labels. An image
    that cannot be read is named and left out; the exit code is then 3.

    \b
    bioclip-plugin prototypes build --data leaves.parquet --model demo --output leaves_prototypes
    bioclip-plugin prototypes build --data leaves.parquet --model bioclip-2 --join own --output joined
    """
    from bioclip_core.device import choose_compute
    from bioclip_core.models import find_model
    from bioclip_core.open_clip_encoder import open_encoder
    from bioclip_training.catalog.rows import Catalog
    from bioclip_training.evaluation.features import FeatureBook
    from bioclip_training.evaluation.prototyping import examples_of, held_out_of

    console = console_for()
    _check_output(output, force=options["force"])
    catalog = Catalog.open(data)
    found = find_model(model, plugins_of(ctx).models())
    to_join = _folder_to_join(join, found)  # what is missing or of another model is known before anything is encoded
    compute = choose_compute(options["device"], options["precision"])
    encoder = open_encoder(found, compute)
    console.print(f"Model {model} on {compute.described()}")
    book = FeatureBook(catalog, encoder, compute, batch_size=options["batch_size"], workers=options["workers"])
    report = Report("Encoding", console=console)
    with log_lines(console), report:
        examples = examples_of(catalog, split, book, progress=_advance(report))
        held_out = held_out_of(catalog, split, book, progress=_advance(report))
    _say_examples(console, examples, catalog, book)
    with _replacing(output, force=options["force"]) as folder:
        if join is None:
            _build_alone(console, examples, held_out, encoder, folder, compute.device)
        else:
            text = _text_to_join(join, to_join, catalog, encoder)
            _build_joined(console, text, examples, held_out, folder, compute.device)
    _say_end(console, output, model, report, book)
    return EXIT_WITH_FAILURES if book.failures else EXIT_DONE


def _build_alone(
    console: Console, examples: Sample, held_out: Sequence[Sample], encoder: Encoder, folder: Path, device: str
) -> None:
    from bioclip_core.errors import NoTextTower
    from bioclip_core.labels.prototypes import build_prototypes
    from bioclip_training.evaluation.prototyping import compare_alone, text_labels

    labels = build_prototypes(examples.features_ND, examples.taxa, encoder.identity, folder)
    fit = labels.manifest["scale_fit"]
    console.print(f"{len(labels)} prototypes, scale {fit['scale']:.3g}")
    if fit["top1"] is not None:
        console.print(f"Examples, each left out in turn: {fit['top1']:.1%} of {fit['examples']} named right")
    try:
        text = text_labels((labels.taxon(row) for row in range(len(labels))), encoder)
    except NoTextTower:
        text = None
        console.print("The model has no text tower, so there are no text labels to compare with.")
    _say_accuracy(console, compare_alone(labels, text, held_out, device=device), held_out)


def _build_joined(
    console: Console, text: LabelSet, examples: Sample, held_out: Sequence[Sample], folder: Path, device: str
) -> None:
    from bioclip_core.labels.joining import join_prototypes
    from bioclip_training.evaluation.prototyping import compare_joined

    report = Report("Writing", unit="labels", console=console)
    report.total = len(text)
    with report:
        joined, fit = join_prototypes(
            text,
            examples.features_ND,
            examples.taxa,
            folder,
            progress=lambda done, _total: report.advance(done - report.count),
        )
    _say_join(console, text, joined, fit)
    _say_accuracy(console, compare_joined(text, joined, held_out, device=device), held_out)


def _folder_to_join(join: str | None, found: FoundModel) -> LabelSet | None:
    """The label set to join, opened and checked against the model; None where it is to be made, or none is wanted."""
    from bioclip_core.errors import LabelSetError
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_plugin.commands.models import label_folder_here

    if join is None or join == _TEXT:
        return None
    folder = label_folder_here(found) if join == _OWN else Path(join).expanduser()
    if folder is None:
        raise LabelSetError(
            f"--join own: model {found.name!r} has no label set on this machine; fetch it with: bioclip-plugin models fetch "
            f"{found.name}, or give --join text or a label set's folder"
        )
    labels = LabelSet.open(folder)
    labels.check_encoder(found.identity())
    return labels


def _text_to_join(join: str, opened: LabelSet | None, catalog: Catalog, encoder: Encoder) -> LabelSet:
    from bioclip_training.evaluation.prototyping import text_labels

    if opened is not None:
        return opened
    assert join == _TEXT
    return text_labels((taxon for taxon in catalog.taxa if taxon.rank is not None), encoder)


def _check_output(output: Path, *, force: bool) -> None:
    from bioclip_core.errors import LabelSetError
    from bioclip_core.labels.label_set import MANIFEST

    if output.exists() and not output.is_dir():
        raise LabelSetError(f"the output {output} is a file; a label set is a folder: give another name")
    if (output / MANIFEST).is_file() and not force:
        raise LabelSetError(
            f"the output {output} holds a label set already: give another name, or --force to replace it"
        )


@contextmanager
def _replacing(output: Path, *, force: bool) -> Iterator[Path]:
    """The folder to write: with ``force`` one beside the output, whose files take the place of its own at the end."""
    from bioclip_core.errors import LabelSetError
    from bioclip_core.labels.label_set import EMBEDDINGS, MANIFEST, TAXA

    if not (force and (output / MANIFEST).is_file()):
        yield output
        return
    try:
        with TemporaryDirectory(dir=output.resolve().parent, prefix=f".{output.name}.") as folder:
            draft = Path(folder)
            yield draft
            (output / MANIFEST).unlink()  # until the last file is there, the folder is an unfinished label set
            for name in (EMBEDDINGS, TAXA, MANIFEST):
                (draft / name).replace(output / name)
    except OSError as error:
        raise LabelSetError(f"label set {output} cannot be replaced: {error.strerror or error}") from error


def _advance(report: Report) -> Any:
    """What the book tells as a running count over several parts."""
    seen = {"": 0}

    def progress(what: str, done: int, total: int) -> None:
        if what not in seen:
            seen[what] = 0
            report.total = (report.total or 0) + total
        report.advance(done - seen[what])
        seen[what] = done

    return progress


def _say_examples(console: Console, examples: Sample, catalog: Catalog, book: FeatureBook) -> None:
    uris = catalog.column("uri")
    for row, reason in list(book.failures.items())[:_SHOWN]:
        console.print(f"Failed: {printable(uris[row])}: {reason}")
    if len(book.failures) > _SHOWN:
        console.print(f"and {len(book.failures) - _SHOWN} more failed")
    counts = Counter(taxon.lineage for taxon in examples.taxa)
    names = {taxon.lineage: taxon.scientific_name for taxon in examples.taxa}
    console.print(f"Examples: {len(examples)} images of {len(counts)} taxa (part {examples.part})")
    single = sorted(names[lineage] for lineage, count in counts.items() if count == 1)
    if single:
        more = f" and {len(single) - _SHOWN} more" if len(single) > _SHOWN else ""
        console.print(
            f"With a single example, so that nothing tells how good it is: {', '.join(single[:_SHOWN])}{more}"
        )


def _say_join(console: Console, text: LabelSet, joined: LabelSet, fit: JoinFit) -> None:
    console.print(
        f"{len(text)} text labels and {fit.added + fit.replaced} prototypes ({fit.added} of new taxa, {fit.replaced} in place "
        f"of a text label): {len(joined)} labels"
    )
    if fit.kept:
        more = f" and {len(fit.kept) - _SHOWN} more" if len(fit.kept) > _SHOWN else ""
        console.print(f"Named better by their text label, which stays: {', '.join(fit.kept[:_SHOWN])}{more}")
    console.print(f"Scale {fit.scale:.3g} and bias {fit.bias:.3g} of the prototypes rest on {fit.rests_on}.")


def _say_accuracy(console: Console, found: Sequence[Accuracy], held_out: Sequence[Sample]) -> None:
    if not found:
        console.print("No held-out images of these taxa (parts dev and val), so no accuracy on images never seen.")
        return
    rows = [
        (
            one.part,
            one.taxa,
            one.answers,
            one.images,
            f"{one.label:.1%}",
            "-" if one.genus is None else f"{one.genus:.1%}",
        )
        for one in found
    ]
    print_table(
        console, ("part", "taxa", "answers", "images", "right", "genus right"), rows, "Accuracy on held-out images"
    )
    for sample in held_out:
        counted = {one.taxa: one.images for one in found if one.part == sample.part}
        if left := len(sample) - sum(counted.values()):
            console.print(f"{left} images of {sample.part} show taxa that no label has; they are not counted.")


def _say_end(console: Console, output: Path, model: str, report: Report, book: FeatureBook) -> None:
    from bioclip_core.labels.label_set import LabelSet

    made = LabelSet.open(output)
    failed = f", {len(book.failures)} failed" if book.failures else ""
    console.print(f"{report.count} images{failed}; {report.seconds:.1f} s")
    console.print(f"Label set: {output} ({made.manifest['id'][:12]})")
    console.print(f"Next: bioclip-plugin classify PATHS --model {model} --labels {output}")
