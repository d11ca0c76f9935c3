"""Label sets of example images, for ``prototypes build`` and ``probe build``; imports what ``--help`` does not need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bioclip_core.device import choose_compute
from bioclip_core.encoder import Encoder
from bioclip_core.errors import LabelSetError, NoTextTower
from bioclip_core.files.homes import with_home
from bioclip_core.files.leftovers import temporary_folder
from bioclip_core.files.replacing import reason_of, rename
from bioclip_core.files.whole import folder_beside
from bioclip_core.labels.joining import check_joinable, join_prototypes, named_with_other_ranks
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.labels.manifest import EMBEDDINGS, MANIFEST, TAXA
from bioclip_core.labels.prototypes import build_prototypes
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.next_commands import command, next_lines
from bioclip_core.nouns import number_of
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import first_of, log_lines, print_lines, print_table, printable
from bioclip_plugin.running.label_choice import label_folder_here
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_on import TRAINED_ON, Seen
from bioclip_training.evaluation.features import FeatureBook, say_first
from bioclip_training.evaluation.probing import MOST_EXAMPLES, check_scikit_learn, fit_probe
from bioclip_training.evaluation.prototyping import (
    Accuracy,
    Sample,
    compare_alone,
    compare_joined,
    examples_of,
    held_out_of,
    standing_of,
    text_labels,
)
from bioclip_training.shards.collection import open_collection

_SHOWN = 10
_OWN, _TEXT = "own", "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options that both commands share."""

    data: Path
    model: str
    output: Path
    split: str
    dev_fraction: float
    most_examples: int | None
    force: bool
    batch_size: int | None
    workers: int | None
    device: str
    precision: str
    replace_prefix: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Images:
    """Encoded images of a request."""

    encoder: Encoder
    device: str
    examples: Sample
    held_out: Sequence[Sample]


def build_set(console: Console, models: Mapping[str, ModelEntry], request: Request, join: str | None) -> int:
    """Build prototypes, print their accuracy beside that of text labels, and return the number of unreadable images."""
    found = find_model(request.model, models)
    # A missing or wrong one is reported before anything is encoded.
    opened = _label_set_to_join(join, found)

    def build(catalog: Catalog, images: _Images, folder: Path) -> None:
        if join is None:
            _build_alone(console, images.examples, images.held_out, images.encoder, folder, images.device)
        else:
            named = (taxon for taxon in catalog.taxa if taxon.rank is not None)
            text = text_labels(named, images.encoder) if opened is None else opened
            _build_joined(console, text, images.examples, images.held_out, folder, images.device)

    return _build(console, found, request, build)


def build_probe_set(console: Console, models: Mapping[str, ModelEntry], request: Request) -> int:
    """Fit a probe, print its accuracy beside that of cheaper labels, and return the number of unreadable images."""
    check_scikit_learn()
    if request.most_examples is None:
        request = replace(request, most_examples=MOST_EXAMPLES)

    def build(_: Catalog, images: _Images, folder: Path) -> None:
        _build_probe(console, images, folder)

    return _build(console, find_model(request.model, models), request, build)


def _build(
    console: Console,
    found: FoundModel,
    request: Request,
    build: Callable[[Catalog, _Images, Path], None],
) -> int:
    """Encode the images of a request, build the label set in its folder, and return the number of unreadable images."""
    output = request.output
    _check_output(output, force=request.force)
    catalog = open_collection(
        request.data, dev_fraction=request.dev_fraction, replace_prefix=request.replace_prefix, by_taxa=True
    )
    with log_lines(console):
        say_first(catalog, catalog.rows_of(request.split), request.replace_prefix)
    compute = choose_compute(request.device, request.precision)
    encoder = open_encoder(found, compute)
    console.print(f"Model {request.model} on {compute.described()}")
    book = FeatureBook(catalog, encoder, batch_size=request.batch_size, workers=request.workers)
    with log_lines(console), ProgressLine("Encoding", console=console) as line:
        examples = examples_of(catalog, request.split, book, most_examples=request.most_examples, progress=line.stage)
        held_out = held_out_of(catalog, request.split, book, progress=line.stage)
    _print_examples(console, examples, catalog, book, request.most_examples)
    print_lines(console, *_nameless_lines(catalog, [examples.part, *(sample.part for sample in held_out)]))
    with _replacing(output) as folder:
        build(catalog, _Images(encoder, compute.device, examples, held_out), folder)
        Seen.of(catalog, np.array(examples.rows, dtype=np.int64)).write(folder)  # evaluate tells them from new images
    failed = f", {len(book.failures)} failed" if book.failures else ""
    print_lines(
        console,
        f"{number_of(line.earlier_stages + line.count, 'image')}{failed}; {line.seconds:.1f} s",
        f"Label set: {output} ({LabelSet.open(output).manifest['id'][:12]})",
        *next_lines(command("classify", "PATHS", model=request.model, labels=output)),
    )
    return len(book.failures)


def _check_output(output: Path, *, force: bool) -> None:
    if output.exists() and not output.is_dir():
        raise LabelSetError(f"the output {output} is a file; a label set is a folder: give another name")
    if (output / MANIFEST).is_file() and not force:
        raise LabelSetError(
            f"the output {output} holds a label set already: give another name, or --force to replace it"
        )


def _label_set_to_join(join: str | None, found: FoundModel) -> LabelSet | None:
    """Open the label set to join and check that it belongs to the model; None if there is none or it must be made."""
    if join is None or join == _TEXT:
        return None
    folder = label_folder_here(found) if join == _OWN else with_home(join)
    if folder is None:
        raise LabelSetError(
            f"--join own: the label set of model {found.name!r} is not on this machine; fetch it with: "
            f"{command('models fetch', found.name)}, or give --join text or a label set's folder"
        )
    labels = LabelSet.open(folder)
    labels.check_encoder(found.identity())
    check_joinable(labels)
    return labels


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Give the folder to write: beside an existing label set, whose files are replaced at the end, else the output itself."""
    if not (output / MANIFEST).is_file():
        yield output
        return
    target = output.resolve()
    try:
        with folder_beside(target) as draft:
            yield draft
            (target / MANIFEST).unlink()  # until the last file is there, the folder is an unfinished label set
            (target / TRAINED_ON).parent.mkdir(exist_ok=True)
            for name in (EMBEDDINGS, TAXA, TRAINED_ON, MANIFEST):
                rename(draft / name, target / name)
    except OSError as error:
        raise LabelSetError(f"label set {output} cannot be replaced: {reason_of(error, output)}") from error


def _build_alone(
    console: Console, examples: Sample, held_out: Sequence[Sample], encoder: Encoder, folder: Path, device: str
) -> None:
    labels = build_prototypes(examples.features_ND, examples.taxa, encoder.identity, folder)
    fit = labels.manifest["scale_fit"]
    print_lines(
        console,
        f"{len(labels)} prototypes, scale {fit['scale']:.3g}",
        f"Examples, each left out in turn: {fit['top1']:.1%} of {fit['examples']} named right{_with_its_group(examples)}"
        if fit["top1"] is not None
        else "",
    )
    sets = {"prototypes": labels, **_text_of(console, labels, encoder)}
    _print_accuracy(console, compare_alone(sets, held_out, device=device), held_out)


def _with_its_group(examples: Sample) -> str:
    """Return the reservation about examples of one group, which resemble each other; empty if each has a group of its own."""
    groups = len(set(examples.groups))
    return (
        f" ({number_of(groups, 'group')}, of which the other images stay: too good a figure)"
        if groups < len(examples.groups)
        else ""
    )


def _build_probe(console: Console, images: _Images, folder: Path) -> None:
    examples, encoder = images.examples, images.encoder
    with ProgressLine("Fitting", unit="fits", console=console) as line:
        probe, fit, _ = fit_probe(examples.features_ND, examples.taxa, examples.groups, progress=line.stage)
        labels = probe.write(folder, encoder.identity, {"examples": fit.examples, "probe_fit": asdict(fit)})
    print_lines(console, f"A probe of {number_of(len(labels), 'taxon', 'taxa')}, {fit.described}")
    with temporary_folder("bioclip-prototypes-") as scratch:
        prototypes = build_prototypes(examples.features_ND, examples.taxa, encoder.identity, Path(scratch) / "set")
        others = {"prototypes": prototypes, **_text_of(console, labels, encoder)}
        found = compare_alone({"probe": labels, **others}, images.held_out, device=images.device)
        del prototypes, others  # their file is mapped
    _print_accuracy(console, found, images.held_out)


def _text_of(console: Console, labels: LabelSet, encoder: Encoder) -> dict[str, LabelSet]:
    """Return the text labels of the same taxa by their word, to compare with; nothing without a text tower."""
    try:
        return {"text": text_labels((labels.taxon(row) for row in range(len(labels))), encoder)}
    except NoTextTower:
        console.print("The model has no text tower, so there are no text labels to compare with.")
        return {}


def _build_joined(
    console: Console, text: LabelSet, examples: Sample, held_out: Sequence[Sample], folder: Path, device: str
) -> None:
    with ProgressLine("Writing", unit="labels", console=console) as line:
        joined, fit = join_prototypes(text, examples.features_ND, examples.taxa, folder, progress=line.reach)
    others = named_with_other_ranks(text, examples.taxa)
    print_lines(
        console,
        f"{number_of(len(others), 'taxon', 'taxa')} with other ranks in the label set, taken as its taxon of the same name: "
        f"{printable(first_of(others, _SHOWN))}"
        if others
        else "",
        f"{number_of(len(text), 'text label')} and {number_of(fit.added + fit.replaced, 'prototype')} ({fit.added} of new taxa, "
        f"{fit.replaced} in place of a text label): {number_of(len(joined), 'label')}",
        f"Named better by their text label, which stays: {first_of(fit.kept, _SHOWN)}" if fit.kept else "",
        f"Scale {fit.scale:.3g} and bias {fit.bias:.3g} of the prototypes rest on {fit.rests_on}.",
    )
    _print_accuracy(console, compare_joined(text, joined, held_out, device=device), held_out)


def _print_examples(
    console: Console, examples: Sample, catalog: Catalog, book: FeatureBook, most_examples: int | None
) -> None:
    uris, (rows, _) = catalog.column("uri"), _named_and_nameless(catalog, examples.part)
    is_capped = most_examples is not None and len(rows) > most_examples
    used = {taxon.lineage for taxon in examples.taxa}
    all_taxa = set(map(catalog.taxon, rows.tolist())) if is_capped else set()
    unused = sorted(taxon.scientific_name for taxon in all_taxa if taxon.lineage not in used)
    counts = Counter(taxon.lineage for taxon in examples.taxa)
    single = sorted({taxon.scientific_name for taxon in examples.taxa if counts[taxon.lineage] == 1})
    print_lines(
        console,
        *(f"Failed: {printable(uris[row])}: {reason}" for row, reason in list(book.failures.items())[:_SHOWN]),
        f"and {len(book.failures) - _SHOWN} more failed" if len(book.failures) > _SHOWN else "",
        f"Examples: {number_of(len(examples), 'image')} of {number_of(len(counts), 'taxon', 'taxa')} (part {examples.part})",
        f"{most_examples} of {number_of(len(rows), 'image')} are examples (--most-examples)" if is_capped else "",
        f"{number_of(len(unused), 'taxon', 'taxa')} without an example, and so never an answer: {first_of(unused, _SHOWN)}"
        if unused
        else "",
        f"With a single example, so that its quality cannot be measured: {first_of(single, _SHOWN)}" if single else "",
    )


def _nameless_lines(catalog: Catalog, parts: Iterable[str]) -> Iterator[str]:
    """Yield a line for each part with images that have no name at any rank, with which no label can be made or compared."""
    for part in parts:
        _, nameless = _named_and_nameless(catalog, part)
        if len(nameless):
            yield (
                f"Skipped: {number_of(len(nameless), 'image')} of {part} without a scientific name; the first is "
                f"{printable(catalog.key(int(nameless[0])))}"
            )


def _named_and_nameless(catalog: Catalog, part: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of a part with a name at some rank, and those without."""
    is_named_T = np.array([taxon.rank is not None for taxon in catalog.taxa], dtype=bool)
    rows = catalog.rows_of(part)
    is_named_N = is_named_T[catalog.taxon_of_N[rows]]
    return rows[is_named_N], rows[~is_named_N]


def _print_accuracy(console: Console, found: Sequence[Accuracy], held_out: Sequence[Sample]) -> None:
    if not found:
        console.print("No held-out images of these taxa (parts dev and val), so no accuracy on images never seen.")
        return
    rows = [
        (
            entry.part,
            entry.taxa,
            entry.answers,
            entry.images,
            f"{entry.label:.1%}",
            "-" if entry.genus is None else f"{entry.genus:.1%}",
            entry.groups,
            f"{entry.label_ci95[0]:.1%} to {entry.label_ci95[1]:.1%}" if entry.label_ci95 else "1 group: none",
        )
        for entry in found
    ]
    columns = ("part", "taxa", "answers", "images", "right", "genus right", "groups", "95% interval of right")
    print_table(console, columns, rows, "Accuracy on held-out images")
    print_lines(console, *standing_of(found))
    for sample in held_out:
        counted = {entry.taxa: entry.images for entry in found if entry.part == sample.part}
        if left := len(sample) - sum(counted.values()):
            console.print(f"Not counted: {number_of(left, 'image')} of {sample.part} with a taxon that no label has.")
