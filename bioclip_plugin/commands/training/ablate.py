"""``bioclip-plugin ablate``: the same collection trained in several ways, and what each difference changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import UsageError
from bioclip_core.files.homes import with_home
from bioclip_core.files.whole import check_output, write_whole
from bioclip_core.next_commands import command, next_lines
from bioclip_core.nouns import number_of
from bioclip_core.progress import duration
from bioclip_plugin.commands.context import (
    EXIT_COULD_NOT_RUN,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_WITH_FAILURES,
    plugins_of,
)
from bioclip_plugin.commands.options import json_option
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, log_lines, print_lines
from bioclip_plugin.commands.signals import asked_to_stop, interruptible

if TYPE_CHECKING:
    from rich.console import Console

    from bioclip_training.ablation.results import Results
    from bioclip_training.ablation.running import Prepared
    from bioclip_training.loop.recipe import TrainingProgress

_CONTINUES = "The same command continues there."


@click.command()
@click.argument("configuration", metavar="[CONFIG.yaml]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--example", is_flag=True, help="Write a commented configuration, to CONFIG.yaml if it is given; nothing is run."
)
@click.option(
    "--plan",
    is_flag=True,
    help="Say which runs are to be done, with the time of the first one, and end; nothing is written.",
)
@click.option("--report", is_flag=True, help="Write the report of the runs that are finished, and train nothing.")
@click.option("--rank", "ranks", multiple=True, metavar="RANK", help="Also count answers that are right at this rank.")
@json_option
@click.pass_context
def ablate(
    ctx: click.Context, /, configuration: Path | None, example: bool, plan: bool, report: bool, ranks: tuple[str, ...], as_json: bool
) -> int:  # fmt: skip
    """Train a collection in several ways that differ in one thing each, and compare them on the same images.

    The YAML file names the collection, the settings that all arms share, the arms (captions, losses, data sources, replay, and
    your own), seeds and tests. Each arm is trained once with each seed and asked about the images of every test; answers are
    kept, so that the same command continues after an interruption, and only trains what is new after a change of the file.
    The output folder gets ablation.md and ablation.json: accuracies and differences from the baseline with intervals over
    groups of images, and the range of several seeds. A run that fails does not end the others, unless it is the baseline's; the
    report names it, and the same command tries it again.

    \b
    bioclip-plugin ablate --example ablation.yaml
    bioclip-plugin ablate ablation.yaml --plan
    bioclip-plugin ablate ablation.yaml
    """
    from bioclip_training.ablation.example import EXAMPLE

    if example:
        return _write_example(configuration, EXAMPLE)
    if configuration is None:
        raise UsageError(f"CONFIG.yaml is missing; write one with: {command('ablate', 'CONFIG.yaml', example=True)}")
    from bioclip_training.ablation.configuration import read_ablation
    from bioclip_training.ablation.running import prepare, results_of
    from bioclip_training.ablation.wording import in_configuration
    from bioclip_training.loop.recipe import TrainingStopped

    console, models = console_for(to_stderr=as_json), plugins_of(ctx).models()
    levels = _levels(ranks)
    config = read_ablation(with_home(configuration))
    with log_lines(console, in_configuration):
        prepared = prepare(config, models)
        _say_runs(console, prepared)
        if plan:
            return _plan(ctx, console, prepared, as_json=as_json)
        try:
            results = results_of(prepared) if report else _run(ctx, console, prepared)
        except TrainingStopped as stopped:
            console.print(
                f"Interrupted: {stopped}. {prepared.finished} of {number_of(len(prepared.runs), 'run')} are finished. {_CONTINUES}"
            )
            return EXIT_INTERRUPTED
    written = _written(results, config.output, levels)
    if as_json:
        click.echo(json.dumps(written))
    else:
        from bioclip_training.ablation.page import page

        click.echo(page(results, levels), nl=False)
    console.print(f"Report: {config.output / 'ablation.md'}")
    return EXIT_WITH_FAILURES if results.failed else EXIT_DONE


def _write_example(configuration: Path | None, text: str) -> int:
    if configuration is None:
        click.echo(text, nl=False)
        return EXIT_DONE
    check_output(configuration, has_force=False)
    write_whole(configuration, text)
    lines = next_lines(command("ablate", configuration, plan=True), then=[command("ablate", configuration)])
    print_lines(console_for(), f"Configuration: {configuration}", *lines)
    return EXIT_DONE


def _levels(ranks: tuple[str, ...]) -> tuple[str, ...]:
    from bioclip_core.taxonomy import RANKS

    for rank in ranks:
        if rank not in {one.value for one in RANKS}:
            raise UsageError(f"--rank {rank!r}: allowed are {', '.join(one.value for one in RANKS)}")
    return ("label", *dict.fromkeys(ranks))


def _say_runs(console: Console, prepared: Prepared) -> None:
    arms, seeds = prepared.arms, prepared.config.seeds
    lines = [
        f"{number_of(len(arms), 'arm')} × {number_of(len(seeds), 'seed')}: {number_of(len(prepared.runs), 'run')} of "
        f"{prepared.config.train['steps']} steps, {prepared.finished} finished",
        f"Baseline: {arms[0].name}. Others: {', '.join(arm.name for arm in arms[1:])}",
    ]
    lines += [
        f"Test {test.name}: {number_of(test.unnamed, 'row')} without a name skipped"
        for test in prepared.tests
        if test.unnamed
    ]
    lines += [f"{', '.join(arm.also)}: trains the same model as {arm.name} and is not run" for arm in arms if arm.also]
    lines += prepared.remarks
    print_lines(console, *lines)


def _plan(ctx: click.Context, console: Console, prepared: Prepared, *, as_json: bool) -> int:
    """Plan the baseline's training and say what all of them take; arms with replay or other data may differ."""
    from bioclip_training.ablation.wording import in_configuration
    from bioclip_training.loop.recipe import TrainConfig

    config, arm = prepared.config, prepared.arms[0]
    recipe = TrainConfig(data=str(config.data), start=config.start, output=str(config.output / "plan"), **arm.settings)
    planned = plugins_of(ctx).hook.plan_training(config=recipe)
    left = len(prepared.runs) - prepared.finished
    if as_json:
        click.echo(planned.as_json())
    else:
        print_lines(console, f"Plan of the arm {arm.name}:", *map(in_configuration, planned.lines()))
    print_lines(console, f"{number_of(left, 'run')} like this one are left, those with other data or replay apart.")
    return EXIT_COULD_NOT_RUN if planned.problems else EXIT_DONE


def _run(ctx: click.Context, console: Console, prepared: Prepared) -> Results:
    from bioclip_training.ablation.running import Listener, run

    hook, models = plugins_of(ctx).hook, plugins_of(ctx).models()
    line = ProgressLine("Opening", unit="steps", console=console, beats=True)

    def begin(arm: str, seed: int, done: int, total: int) -> None:
        line.stage(f"Run {done + 1} of {total}: {arm}, seed {seed}", 0, 0, "")

    with interruptible(console, _CONTINUES), asked_to_stop() as stop, line:
        results = run(
            prepared,
            lambda recipe: hook.train_model(config=recipe),
            models,
            Listener(
                begin, _shown_on(line), lambda what, done, total: line.stage(what, done, total, "images"), stop.is_asked
            ),
        )
    failed = len(results.failed)
    done = f"{number_of(failed, 'run')} failed, all others are finished" if failed else "All runs are finished"
    console.print(f"{done}: {duration(line.seconds)}")
    return results


def _shown_on(line: ProgressLine) -> Any:
    def show(progress: TrainingProgress) -> None:
        if progress.stage:
            line.stage(progress.stage, progress.stage_done, progress.stage_total, "")
        elif progress.loss is not None:
            line.stage("Training", progress.step, progress.total, "steps")

    return show


def _written(results: Results, output: Path, levels: tuple[str, ...]) -> dict[str, Any]:
    """Write ``ablation.md`` and ``ablation.json``; return the content of the latter."""
    from bioclip_training.ablation.page import page

    found = {
        "format_version": 1,
        "baseline": results.arms[0].name,
        "arms": {
            arm.name: {"settings": dict(arm.settings), "sources": list(arm.sources), "also": list(arm.also)}
            for arm in results.arms
        },
        "seeds": list(results.seeds),
        "failed": [{"arm": arm, "seed": seed, "reason": reason} for (arm, seed), reason in results.failed.items()],
        "remarks": list(results.remarks),
        "figures": [one.as_dict() for one in results.figures(levels)],
    }
    output.mkdir(parents=True, exist_ok=True)
    write_whole(output / "ablation.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_whole(output / "ablation.md", page(results, levels))
    return found
