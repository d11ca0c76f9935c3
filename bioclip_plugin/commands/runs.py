"""``bioclip-plugin runs``: the runs of a store, their settings, and the proof that no image is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from bioclip_plugin.commands.context import EXIT_COULD_NOT_RUN, EXIT_DONE
from bioclip_plugin.commands.options import json_option, store_option
from bioclip_plugin.commands.reporting import console_for, print_json, print_lines, print_table
from bioclip_plugin.store import open_store

if TYPE_CHECKING:
    from bioclip_plugin.store import Run

_MOMENT = "%Y-%m-%d %H:%M:%SZ"
_number = click.argument("number", type=click.IntRange(min=1), required=False, metavar="[NUMBER]")


@click.group()
def runs() -> None:
    """List, show and verify the runs of a store.

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
        console.print("This store is still empty; start one with: bioclip-plugin classify PATHS")
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
        f"images: {counts.listed} listed, {counts.done} done with {counts.regions} regions, {counts.failed} failed, "
        f"{counts.todo} to do",
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
            f"{proof.todo} images have neither a result nor a failure; the same classify command continues with them."
            if proof.todo
            else "",
            ""
            if ended
            else f"The run did not end (status {run.status}), so its listing may lack images; see why it stopped, then the same "
            "classify command continues with it.",
            "Complete: every listed image has a result or a reason." if is_complete else "",
        )
    return EXIT_DONE if is_complete else EXIT_COULD_NOT_RUN


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
