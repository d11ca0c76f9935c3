"""``bioclip-plugin models``: the known models, the properties of each, fetching them, and exporting them to other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bioclip_core.device import choose_compute
from bioclip_core.errors import BioclipError, DataError, ModelUnavailable, UsageError
from bioclip_core.files.homes import with_home
from bioclip_core.hub import hub_file
from bioclip_core.model_config import CONFIG
from bioclip_core.models import WEIGHTS, FoundModel, ModelEntry, find_model
from bioclip_core.next_commands import command, next_lines
from bioclip_core.nouns import size_of
from bioclip_core.preprocessing import Preprocessing
from bioclip_plugin.commands.context import EXIT_COULD_NOT_RUN, EXIT_DONE, EXIT_USAGE, EXIT_WITH_FAILURES, plugins_of
from bioclip_plugin.commands.detectors import COLUMNS, detector_facts, detector_named, detector_rows, fetched_detector
from bioclip_plugin.commands.options import device_option, filled, force_option, options_from, output_option
from bioclip_plugin.commands.reporting import console_for, log_lines, print_lines, print_table
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.detectors.hub import file_in_folder
from bioclip_plugin.detectors.trust import confirm_file, sha256_to_confirm
from bioclip_plugin.items.request import DEFAULT_MODEL, ClassifyRequest


@click.group()
def models() -> None:
    """List, describe, fetch, trust and export models.

    \b
    bioclip-plugin models list
    bioclip-plugin models fetch bioclip-2
    """


@models.command("list")
@click.pass_context
def list_models(ctx: click.Context) -> None:
    """List the names that --model and --detector take, and show which are on this machine. Needs no network.

    \b
    bioclip-plugin models list
    """
    console, plugins = console_for(), plugins_of(ctx)
    entries = plugins.models().values()
    rows = [(entry.name, _availability(entry), entry.licence, entry.source, entry.description) for entry in entries]
    print_table(console, ("model", "on this machine", "licence", "source", "description"), rows)
    console.print(
        f"The default is {DEFAULT_MODEL}. --model also takes hf-hub:ORG/NAME, local-dir:FOLDER and weight files."
    )
    if detectors := detector_rows(plugins):
        print_table(console, COLUMNS, detectors)
        console.print(
            "--detector speciesnet:WEIGHTS takes other weights: hf:ORG/NAME, kaggle:HANDLE, or a confirmed file."
        )


@models.command("info")
@click.argument("name")
@device_option
@click.pass_context
def info(ctx: click.Context, name: str, device: str) -> None:
    """Show a model's source, weights, preprocessing with the origin of each part, labels, licence, device and runtime.

    An int8 model in the cache is shown with its agreement.

    NAME is anything that --model or --detector takes. Needs no network.

    \b
    bioclip-plugin models info demo
    """
    from bioclip_core.acceleration.describing import int8_described, runtime_described

    console, plugins = console_for(), plugins_of(ctx)
    if (detector := detector_named(plugins, name)) is not None:
        print_lines(console, *detector_facts(detector, name))
        return
    entries = plugins.models()
    entry = entries.get(name)
    if entry is not None:
        titles = ("description", "licence", "citation")
        print_lines(console, *(f"{title}: {getattr(entry, title) or 'not stated'}" for title in titles))
    try:
        found = find_model(name, entries, fetch=False)
    except ModelUnavailable:
        if entry is None:
            raise
        missing = f"Not on this machine; fetch it with: {command('models fetch', name)}"
        print_lines(console, f"source: {entry.source}", missing)
    else:
        compute = choose_compute(device)
        facts = (
            *_facts(found),
            ("runs on", compute.described()),
            ("runtime", runtime_described(found, compute)),
            ("int8 model", int8_described(found, compute.device)),
        )
        print_lines(console, *(f"{title}: {text}" for title, text in facts))


@models.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_context
def fetch(ctx: click.Context, names: tuple[str, ...]) -> int:
    """Fetch models with their label sets, and detectors, into this machine's cache, for work without network.

    The checkpoint of the detector speciesnet is a pickle, which can run any code when it is opened. Its sha256 is recorded,
    and only a file with this sha256 is opened later. Its package yolov5 has a licence of its own (GPL-3.0).

    \b
    bioclip-plugin models fetch bioclip-2 hf-hub:imageomics/bioclip
    bioclip-plugin models fetch speciesnet
    """
    console, plugins, failed, misused = console_for(), plugins_of(ctx), 0, 0
    for name in names:
        try:
            with log_lines(console):
                detector = detector_named(plugins, name)
                lines = _fetched(plugins, name) if detector is None else fetched_detector(detector, name)
                print_lines(console, *lines)
        except BioclipError as error:
            failed += 1
            misused += isinstance(error, UsageError) and not isinstance(error, DataError)
            console_for(to_stderr=True).print(f"Error: {name}: {error}")
    if failed == len(names):
        return EXIT_USAGE if misused == failed else EXIT_COULD_NOT_RUN
    return EXIT_WITH_FAILURES if failed else EXIT_DONE


@models.command("trust")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--sha256", default=None, help="Its sha256, as the publisher states it.", show_default="shown, not confirmed"
)
def trust(file: Path, sha256: str | None) -> None:
    """Confirm a detector's checkpoint on this machine, so that --detector speciesnet:FILE opens it.

    A checkpoint is a pickle, which can run any code when it is opened. Compare its sha256 with that of a source that you
    trust. Without --sha256 that of the file is shown, and nothing is confirmed. The confirmation is kept in this machine's
    cache, and holds for the content, not for the file's name.

    \b
    bioclip-plugin models trust md_v5a.0.1.pt
    """
    file = file_in_folder(file) if file.is_dir() else file
    if sha256 is None:
        found = sha256_to_confirm(file)
        print_lines(
            console_for(),
            f"{file}: sha256 {found}, not confirmed. It is a checkpoint, and opening it can run any code",
            f"If its publisher names the same sha256, confirm it with: {command('models trust', file, sha256=found)}",
        )
        return
    confirmed = confirm_file(file, sha256)
    print_lines(
        console_for(),
        f"{file}: sha256 {confirmed} is confirmed",
        *next_lines(command("classify", "PATHS", detector=f"speciesnet:{file}")),
    )


@models.command("export")
@click.option("--format", "format_", type=click.Choice(["addaxai"]), required=True, help="Format of the folder.")
@options_from(ClassifyRequest, only=["model", "labels", "taxa"])
@output_option("Folder to write; its name becomes the model's id.")
@click.option("--name", default="", help="Name that the program shows.", show_default="made of the model's name")
@force_option
@click.pass_context
def export(ctx: click.Context, /, format_: str, output: Path, name: str, force: bool, **options: Any) -> None:
    """Write a model with its labels as the folder of another program: addaxai is a species model of AddaxAI 7.

    The folder runs where AddaxAI runs its models, with torch and without open_clip. Its answers are compared with the
    model's before the folder is kept.

    \b
    bioclip-plugin models export --format addaxai --model bioclip-2 --taxa Mammalia --taxa Aves --output BIOCLIP-2-v1
    """
    from bioclip_plugin.formats.addaxai.write import MANY_CLASSES, check_folder, export_folder
    from bioclip_plugin.running.engine import Engine

    assert format_ == "addaxai"  # click allows no other
    console = console_for()
    # Exact arithmetic, whatever this machine would choose: the folder is for machines that are not known yet.
    request = filled(ClassifyRequest, options, device="cpu", precision="fp32")
    with log_lines(console):
        check_folder(output, force=force)
        engine = Engine(request, plugins_of(ctx))
        _ = engine.labels  # missing labels are reported before the model is opened
        made = export_folder(engine.model, engine.encoder, engine.classifier, output, name=name, force=force)
    print_lines(
        console,
        f"{made.folder}: {made.classes:,} classes, {size_of(made.bytes)}, weights in {made.stored_as}",
        f"Compared with the model: the largest difference of a probability is {made.largest_difference:.6f}",
        "AddaxAI keeps every class of every animal, so this many make it slow; --taxa or --labels reduce them"
        if made.classes >= MANY_CLASSES
        else "",
        f"To install it, copy the folder to AddaxAI/models/cls/{made.folder.name} in your home folder",
    )


def _fetched(plugins: BioclipPluginManager, name: str) -> Iterator[str]:
    """Fetch a model and then its label set; yield a line on each."""
    from bioclip_plugin.running.label_choice import choose_labels, label_folder_here

    found = find_model(name, plugins.models())
    yield f"{name}: {found.folder or found.weights or 'nothing to fetch'}, weights {found.weights_sha256[:12]}"
    if label_folder_here(found) is None and (found.entry is None or found.entry.labels is None):
        yield (
            f"{name}: no label set belongs to it; make one with: "
            f"{command('labels build', 'TABLE', model=name, output='FOLDER')}"
        )
    else:
        yield f"{name}: label set {choose_labels(ClassifyRequest(model=name), found).folder}"


def _availability(entry: ModelEntry) -> str:
    """Return "here" if a model's config and weights are on this machine; their content is not checked."""
    if entry.open_encoder is not None:
        return "here"
    on_hub = entry.source.startswith("hf-hub:")
    try:
        if on_hub:
            repository, _, revision = entry.source.removeprefix("hf-hub:").partition("@")
            folder = hub_file(repository, CONFIG, revision=revision or entry.revision, fetch=False).parent
        else:
            folder = with_home(entry.source.removeprefix("local-dir:").rpartition("=")[2])
        if folder.is_file() or all(any((folder / name).is_file() for name in names) for names in ((CONFIG,), WEIGHTS)):
            return "here"
    except ModelUnavailable:
        pass
    return "not fetched" if on_hub else "missing"


def _facts(found: FoundModel) -> list[tuple[str, str]]:
    from bioclip_plugin.running.label_choice import label_folder_here

    published = found.entry.labels if found.entry else None
    missing = f"{published.repository}, not fetched" if published else "none; `labels build` makes one"
    return [
        ("source", found.source),
        ("revision", found.revision or "none"),
        ("weights", f"{found.weights or 'none'}"),
        ("weights sha256", found.weights_sha256),
        *([("size", size_of(found.weights.stat().st_size))] if found.weights else []),
        ("dimension", str(found.config.get("embed_dim", "known when it is opened"))),
        *(("preprocessing", text) for text in _preprocessing(found.preprocessing)),
        ("label set", str(label_folder_here(found) or missing)),
    ]


def _preprocessing(preprocessing: Preprocessing) -> Iterator[str]:
    """Yield each part of the preprocessing with its origin."""
    for name, value in preprocessing.identity().items():
        shown = " ".join(f"{number:.6g}" for number in value) if isinstance(value, list) else str(value)
        default = "the model's config" if name == "size" else "default"
        yield f"{name} {shown} ({preprocessing.said_by.get(name, default)})"
