"""``bioclip-plugin rules``: the known rules, and another set of decisions on a run's stored answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from bioclip_core.errors import DataError, UsageError
from bioclip_core.identity import settings_id
from bioclip_core.next_commands import command, free_name, next_lines
from bioclip_plugin.commands.context import plugins_of
from bioclip_plugin.commands.options import filled, json_option, options_from, rule_option, run_option, store_option
from bioclip_plugin.commands.progress import ProgressLine
from bioclip_plugin.commands.reporting import console_for, log_lines, print_json, print_lines, print_table, printable
from bioclip_plugin.commands.signals import interruptible
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.contracts.rule import Rule
from bioclip_plugin.items.deployment_options import DEPLOYMENT_SETTINGS, DeploymentOptions
from bioclip_plugin.items.deployment_tables import DeploymentTable
from bioclip_plugin.items.request import DEFAULT_MODEL, DETECTION, ClassifyRequest
from bioclip_plugin.rules.settings import described_settings, parse_rules, rule_settings
from bioclip_plugin.store import open_store

if TYPE_CHECKING:
    from bioclip_plugin.running.engine import Engine
    from bioclip_plugin.running.places import RunPlaces
    from bioclip_plugin.store import Run, RunPlan, Store


@click.group()
def rules() -> None:
    """List rules, and apply them to the stored answers of a run.

    \b
    bioclip-plugin rules list
    bioclip-plugin rules apply --run 3 --rule sequences:gap=120 --rule unknown
    """


@rules.command("list")
@json_option
@click.pass_context
def list_rules(ctx: click.Context, as_json: bool) -> None:
    """List the rules in the order in which they are asked, with their settings and defaults.

    \b
    bioclip-plugin rules list
    """
    console = console_for()
    for rule in sorted(plugins_of(ctx).rules().values(), key=lambda rule: (rule.order, rule.name)):
        settings = described_settings(rule.settings_type)
        if as_json:
            listed = [{"name": name, "default": default, "what": text} for name, default, text in settings]
            print_json({"rule": rule.name, "version": rule.version, "order": rule.order, "what": rule.description,
                        "settings": listed})  # fmt: skip
        else:
            console.print(f"{rule.name}: {rule.description}")
            if settings:
                rows = [(f"  {name}", default, text) for name, default, text in settings]
                print_table(console, ("  setting", "default", "what"), rows)


@rules.command("apply")
@run_option
@rule_option
@options_from(DeploymentOptions)
@store_option
@json_option
@click.pass_context
def apply_command(
    ctx: click.Context, /, run: int | None, rules: tuple[str, ...], store: str, as_json: bool, **options: Any
) -> None:
    """Apply other rules to a run's stored answers; the decisions are a run of their own, beside the first.

    No image is needed. Rules that weigh or pool classify the stored features again, with the label set but without the
    model's vision tower; the other rules need neither. Without --rule the run's own rules decide on everything that they
    have not decided on yet. Answers and reviews stay as they are.

    \b
    bioclip-plugin rules apply --rule sequences:gap=120
    bioclip-plugin rules apply --run 3 --rule only:file=park_list.csv --rule thresholds:species=0.8,genus=0.6
    """
    from bioclip_plugin.running.places import RunPlaces
    from bioclip_plugin.running.rules_pass import apply_rules

    console, plugins = console_for(to_stderr=as_json), plugins_of(ctx)
    deployments = filled(DeploymentOptions, options)
    with log_lines(console), open_store(store, writes=True) as opened:
        base = opened.run(run)
        texts = rules or tuple(base.settings.get("rules", ()))
        if not texts:
            raise UsageError(
                f"run {base.id} was made without rules; give --rule NAME (listed by: {command('rules list')})"
            )
        places = RunPlaces(base, opened.shown_address)
        # The run's own rules name files as classify was given them, which may have been in another folder.
        active = parse_rules(texts, plugins.rules(), None if rules else places.rule_file)
        for rule in active:
            rule.read()
        plan = plan_of(base, active, texts, deployments)
        target = opened.derive_run(base, places.with_rules_from_here(plan) if rules else plan)
        with _recorded(console, opened, target), ProgressLine("Applying rules", console=console) as line:
            applied = apply_rules(opened, target, active, lambda: _engine(base, places, plugins), line.reach)
        # Images that classify has not answered yet are left to classify.
        counts = {"seconds": round(line.seconds, 1), "rules": applied.as_dict()}
        opened.end_run(target, "interrupted" if opened.summary(target).todo else "finished", counts)
    if as_json:
        print_json({"run": target.id, "of_run": base.id, **applied.as_dict()})
        return
    answers = f": the answers of run {base.id}" if target.id != base.id else ""
    print_lines(
        console,
        f"Run {target.id}{answers} with {', '.join(texts)}",
        *map(printable, applied.lines()),
        *next_lines(
            command("export", run=target.id, store=opened.shown_address, format="csv", output=free_name("results.csv"))
        ),
    )


@contextmanager
def _recorded(console: Console, store: Store, run: Run) -> Iterator[None]:
    """Record in a run that the work on it was interrupted or failed."""
    kept = f"The decisions so far are stored; the same command continues run {run.id}."
    try:
        with interruptible(console, kept, lambda: store.end_run(run, "interrupted", {})):
            yield
    except Exception as error:
        if not isinstance(error, click.exceptions.Exit):
            store.end_run(run, "failed", {})
        raise


def plan_of(
    base: Run, active: Sequence[Rule], texts: Sequence[str], deployments: DeploymentOptions | None = None
) -> RunPlan:
    """Return the plan of a run like ``base`` with other rules.

    Args:
        base: the run.
        active: the rules.
        texts: the rules, as given.
        deployments: options of deployments; without any, those of ``base``.

    Raises:
        UsageError: if the table of deployments cannot be used.
    """
    from bioclip_plugin.store import RunPlan

    options = (deployments or DeploymentOptions()).or_those_of(base.settings)
    if options.deployments is not None:
        DeploymentTable(options.deployments)
    of_base = {name: value for name, value in base.settings.items() if name not in DEPLOYMENT_SETTINGS}
    listing = {**of_base, **options.settings()}
    threshold = float(base.rule_settings["rules"][0]["threshold"])
    detection = base.rule_settings.get(DETECTION)
    settings = rule_settings(base.answer_id, threshold, active, base.sources, listing, detection)
    return RunPlan(
        sources=base.sources, settings={**listing, "rules": list(texts)}, feature_id=base.feature_id,
        feature_settings=base.feature_settings, dimension=base.dimension, answer_id=base.answer_id,
        answer_settings=base.answer_settings, rule_id=settings_id(settings), rule_settings=settings,
        provenance=base.provenance,
    )  # fmt: skip


def _engine(base: Run, places: RunPlaces, plugins: BioclipPluginManager) -> Engine:
    """Find the model and labels of a run again, by its settings.

    Raises:
        DataError: if their contents are not those of the run.
        LabelSetError: if the labels are not there any more.
    """
    from bioclip_plugin.running.engine import Engine

    names = {entry.name for entry in fields(ClassifyRequest)}
    request = {name: value for name, value in base.settings.items() if name in names - {"rules"}}
    request["model"] = places.model(str(request.get("model") or DEFAULT_MODEL), plugins.models())
    if isinstance(request.get("labels"), str):
        request["labels"] = places.labels(request["labels"])
    if request.pop("detector", None) is not None:  # decisions need its boxes alone, which are stored
        request["exact"] = True
    engine = Engine(ClassifyRequest.from_mapping(request), plugins)
    engine.keep_precision([base.feature_settings], encodes=False)
    ids = engine.identities
    if ids.answer_id != base.answer_id:
        before = {**base.feature_settings, **base.answer_settings}
        now = {**ids.feature_settings, **ids.answer_settings}
        other = [name for name in sorted({*before, *now} - {"feature_id"}) if before.get(name) != now.get(name)]
        raise DataError(
            f"run {base.id} was made with another {', '.join(other).replace('_', ' ')} than {request.get('model')} has here "
            "now; restore the earlier one, or run classify again (stored features are used if the model is the same), then "
            "apply the rules"
        )
    return engine
