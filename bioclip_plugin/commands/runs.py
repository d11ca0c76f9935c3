"""``bioclip-plugin runs``: the runs of a store, their settings, and the proof that no image is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import UsageError
from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of, size_of
from bioclip_plugin.commands.boxes import box_lines
from bioclip_plugin.commands.context import EXIT_COULD_NOT_RUN, EXIT_DONE, EXIT_INTERRUPTED
from bioclip_plugin.commands.options import COUNT, json_option, store_option
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, print_json, print_lines, print_table
from bioclip_plugin.store import open_store
from bioclip_plugin.store.statuses import RUN_STATUSES

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, Store

_MOMENT = "%Y-%m-%d %H:%M:%SZ"


class Days(click.FloatRange):
    """A number of days."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        days = super().convert(value, param, ctx)
        if days != days:  # NaN is in every range
            self.fail(f"{value} is not a number of days", param, ctx)
        return days


def removal_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of deletions."""
    command = click.option("--yes", is_flag=True, help="Delete without a question.")(command)
    return click.option("--dry-run", is_flag=True, help="Print what would go, and delete nothing.")(command)


_number = click.argument("number", type=COUNT, required=False, metavar="[NUMBER]")


@click.group()
def runs() -> None:
    """List, show, verify, delete and prune the runs of a store.

    \b
    bioclip-plugin runs list --store results.db
    bioclip-plugin runs verify
    """


@runs.command("list")
@store_option
@json_option
def list_runs(store: str, as_json: bool) -> None:
    """List the runs, oldest first.

    \b
    bioclip-plugin runs list --store results.db
    """
    with open_store(store) as opened:
        found = [(run, opened.summary(run)) for run in opened.runs()]
        begun, shown = opened.half_deleted(), opened.shown_address
    if as_json:
        for run, counts in found:
            print_json({**_brief(run), "listed": counts.listed, "done": counts.done, "failed": counts.failed,
                        "todo": counts.todo})  # fmt: skip
        return
    rows = [
        (run.id, run.status, run.begun_at.strftime(_MOMENT), _model(run), counts.listed, counts.done, counts.failed,
         counts.todo, ", ".join(run.sources) or "the whole store")
        for run, counts in found
    ]  # fmt: skip
    console = console_for()
    if not rows:
        console.print(f"This store is still empty; start a run with: {command('classify', 'PATHS', store=shown)}")
    for number in begun:
        console_for(to_stderr=True).print(
            f"Run {number} is half deleted; to finish that: {command('runs delete', number, store=shown, yes=True)}"
        )
    print_table(console, ("run", "status", "begun", "model", "images", "done", "failed", "to do", "sources"), rows)


@runs.command("show")
@_number
@store_option
@json_option
def show_run(number: int | None, store: str, as_json: bool) -> None:
    """Show one run, by default the latest: settings, identities, provenance, counts and failures by reason.

    \b
    bioclip-plugin runs show 3 --store results.db
    """
    with open_store(store) as opened:
        run = opened.run(number)
        counts, failures = opened.summary(run), opened.failure_counts(run)
        boxes = list(box_lines(opened, run))
    details = {
        **_brief(run),
        "settings": dict(run.settings),
        "feature_id": run.feature_id,
        "feature_settings": dict(run.feature_settings),
        "answer_id": run.answer_id,
        "answer_settings": dict(run.answer_settings),
        "rule_id": run.rule_id,
        "rule_settings": dict(run.rule_settings),
        "provenance": dict(run.provenance),
        "earlier_provenance": [dict(entry) for entry in run.earlier_provenance],
    }
    if as_json:
        reasons = [{"stage": stage, "reason": reason, "count": count} for (stage, reason), count in failures.items()]
        print_json({**details, "listed": counts.listed, "done": counts.done, "failed": counts.failed,
                    "todo": counts.todo, "regions": counts.regions, "failures": reasons})  # fmt: skip
        return
    print_lines(
        console_for(),
        *(f"{name}: {value}" for name, value in _dotted(details)),
        f"images: {counts.listed} listed, {counts.done} done with {number_of(counts.regions, 'region')}, {counts.failed} failed, "
        f"{counts.todo} to do",
        *boxes,
        *(f"  {count} x {stage}: {reason}" for (stage, reason), count in failures.items()),
    )


@runs.command("verify")
@_number
@store_option
@json_option
def verify_run(number: int | None, store: str, as_json: bool) -> int:
    """Prove that a run's listing equals its results and failures; the exit code is 1 if it does not, or if work is left.

    So it is for a run that did not end, since its listing may lack images.

    \b
    bioclip-plugin runs verify --store results.db
    """
    with open_store(store) as opened:
        run = opened.run(number)
        proof = opened.verify(run)
    ended = run.status == "finished"  # before that, the listing may lack images
    is_complete = ended and proof.complete
    if as_json:
        print_json({"run": run.id, "status": run.status, "listed": proof.listed, "answered": proof.answered, "failed": proof.failed,
                    "todo": proof.todo, "complete": is_complete, "problems": proof.problems})  # fmt: skip
    else:
        print_lines(
            console_for(),
            f"Run {run.id}: {proof.listed} listed = {proof.answered} answered + {proof.failed} failed + {proof.todo} to do",
            *(f"Problem: {problem}" for problem in proof.problems),
            f"{number_of(proof.todo, 'image')} {'has' if proof.todo == 1 else 'have'} neither a result nor a failure; the same classify "
            f"command continues with {'it' if proof.todo == 1 else 'them'}."
            if proof.todo
            else "",
            ""
            if ended
            else f"The run did not end (status {run.status}), so its listing may lack images; see why it stopped, then the same "
            "classify command continues with it.",
            "Complete: every listed image has a result or a reason." if is_complete else "",
        )
    return EXIT_DONE if is_complete else EXIT_COULD_NOT_RUN


@runs.command("delete")
@click.argument("numbers", type=COUNT, nargs=-1, required=True, metavar="NUMBER...")
@removal_options
@store_option
@json_option
def delete_runs(numbers: tuple[int, ...], dry_run: bool, yes: bool, store: str, as_json: bool) -> int:
    """Delete runs, with every result that no other run needs. Reviews stay, with their images and boxes.

    Other runs and their exports stay as they are. A run that a program works on now is refused. `store compact` then makes
    the file smaller.

    \b
    bioclip-plugin runs delete 3 5 --dry-run
    bioclip-plugin runs delete 3 5 --yes --store results.db
    """
    with open_store(store) as opened:
        begun = set(opened.half_deleted())
        going = [opened.run(number) for number in dict.fromkeys(numbers) if number not in begun]
        return _remove(opened, [*dict.fromkeys(numbers)], going, (), dry_run=dry_run, yes=yes, as_json=as_json)


@runs.command("prune")
@click.option("--keep", type=COUNT, help="Keep the N runs that were begun last.")
@click.option("--keep-days", type=Days(0, 36_500), help="Keep the runs that were begun in the last N days.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(RUN_STATUSES),
    help="Delete only runs with this status (`running`: killed runs). May be given again.",
)
@click.option("--by-sources", is_flag=True, help="Count --keep for each set of sources.")
@removal_options
@store_option
@json_option
def prune_runs(
    keep: int | None,
    keep_days: float | None,
    statuses: tuple[str, ...],
    by_sources: bool,
    dry_run: bool,
    yes: bool,
    store: str,
    as_json: bool,
) -> int:
    """Delete every run that no option keeps, as `runs delete` does. Runs that a program works on now are kept.

    \b
    bioclip-plugin runs prune --keep 3 --by-sources --dry-run
    bioclip-plugin runs prune --keep-days 90 --yes
    bioclip-plugin runs prune --status failed --status interrupted --keep-days 7
    """
    from bioclip_plugin.store import Keep

    wanted = Keep(keep, keep_days, statuses, by_sources)
    with open_store(store) as opened:
        going, held = opened.prunable(wanted)
        numbers = [*opened.half_deleted(), *(run.id for run in going)]
        return _remove(opened, numbers, going, held, dry_run=dry_run, yes=yes, as_json=as_json)


def _remove(
    store: Store,
    numbers: Sequence[int],
    going: Sequence[Run],
    held: Sequence[Run],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete runs after a confirmation, or count what would go."""
    console = console_for(to_stderr=as_json)
    begun = [number for number in numbers if number not in {run.id for run in going}]
    print_lines(
        console,
        *(f"Run {run.id} is being worked on by a program now and is kept." for run in held),
        *(f"Run {number} is half deleted; the rest goes too." for number in begun),
        *(f"Run {run.id} ({run.status}, {run.begun_at.strftime(_MOMENT)}): "
          f"{number_of(store.summary(run).listed, 'image')}, {', '.join(run.sources) or 'the whole store'}"
          for run in going),
    )  # fmt: skip
    if numbers and not dry_run and not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "runs are deleted for good: add --yes to do so in a script, or --dry-run to see what would go"
            )
        click.confirm(f"Delete {number_of(len(numbers), 'run')} for good? Reviews stay", abort=True, err=True)
    try:
        with ProgressLine("Counting" if dry_run else "Deleting", console=console) as line:
            removal = store.delete_runs(numbers, dry_run=dry_run, progress=line.reach)
    except KeyboardInterrupt:
        if begun := store.half_deleted():
            console.print(
                f"Interrupted. Half deleted: {', '.join(map(str, begun))}; to finish that: "
                f"{command('runs delete', *begun, store=store.shown_address, yes=True)}"
            )
        return EXIT_INTERRUPTED
    rows = {name: count for name, count in removal.rows.items() if count}
    if as_json:
        print_json({"runs": list(removal.runs), "dry_run": dry_run, "rows": rows, "bytes": removal.bytes,
                    "worked_on": [run.id for run in held]})  # fmt: skip
        return EXIT_DONE
    if not numbers:
        console.print("There is no run to delete.")
        return EXIT_DONE
    rest = ", ".join(f"{count:,} {_LAYERS.get(name, name)}" for name, count in sorted(rows.items()) if name != "runs")
    done = "Would delete" if dry_run else "Deleted"
    print_lines(
        console,
        f"{done} {number_of(len(numbers), 'run')}: {rest or 'no rows that other runs do not need'}; "
        f"about {size_of(removal.bytes)}.",
        ""
        if dry_run
        else f"The space is used by later runs. To give it back: {command('store compact', store=store.shown_address)}",
    )
    return EXIT_DONE


_LAYERS = {"listed_regions": "listed boxes", "feature_sets": "sets of features", "answer_sets": "sets of answers",
           "decision_sets": "sets of decisions", "listing": "listed images", "media": "images"}  # fmt: skip
"""Names of tables, where a reader knows another word."""


def _model(run: Run) -> str:
    model = run.provenance.get("model")
    return str(model.get("name", "")) if isinstance(model, Mapping) else ""


def _brief(run: Run) -> dict[str, Any]:
    return {
        "run": run.id,
        "status": run.status,
        "sources": list(run.sources),
        "created_at": run.created_at.isoformat(),
        "begun_at": run.begun_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "model": _model(run),
    }


def _dotted(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values with dotted names; lists and numbers as JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
