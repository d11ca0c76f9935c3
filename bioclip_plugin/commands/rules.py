"""``bioclip-plugin rules``: which rules there are, and another set of decisions over a run's stored answers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from bioclip_core.errors import UsageError
from bioclip_plugin.cli import EXIT_DONE, plugins_of
from bioclip_plugin.commands.options import json_option, rule_option, run_option, store_option
from bioclip_plugin.commands.reporting import (
    Report,
    console_for,
    log_lines,
    print_json_line,
    print_table,
    printable,
    terminated_like_interrupted,
)
from bioclip_plugin.items.request import ClassifyRequest

if TYPE_CHECKING:
    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_plugin.contracts.rule import Rule
    from bioclip_plugin.running.engine import Engine
    from bioclip_plugin.store import Run
    from bioclip_plugin.store.records import RunStatus


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
def list_rules(ctx: click.Context, as_json: bool) -> int:
    """List the rules in the order in which they are asked, with their settings and defaults.

    \b
    bioclip-plugin rules list
    """
    from bioclip_plugin.rules.settings import described_settings

    known = sorted(plugins_of(ctx).rules().values(), key=lambda rule: (rule.order, rule.name))
    console = console_for()
    for rule in known:
        settings = described_settings(rule.settings_type)
        if as_json:
            listed = [{"name": name, "default": default, "what": what} for name, default, what in settings]
            row = {
                "rule": rule.name,
                "version": rule.version,
                "order": rule.order,
                "what": rule.description,
                "settings": listed,
            }
            print_json_line(json.dumps(row, ensure_ascii=False))
            continue
        console.print(f"{rule.name}: {rule.description}")
        rows = [(f"  {name}", default, what) for name, default, what in settings]
        if rows:
            print_table(console, ("  setting", "default", "what"), rows)
    return EXIT_DONE


@rules.command("apply")
@run_option
@rule_option
@store_option
@json_option
@click.pass_context
def apply_command(ctx: click.Context, run: int | None, rules: tuple[str, ...], store: str, as_json: bool) -> int:
    """Decide anew on a run's stored answers: another set of decisions, in a run of its own, beside the first.

    Needs no image. Rules that weigh or pool classify stored features again, with the label set and without the model's
    vision tower; the others need neither. Without --rule the run's own rules are applied to what they have not decided
    yet. The model's answers and what people reviewed stay as they are.

    \b
    bioclip-plugin rules apply --rule sequences:gap=120
    bioclip-plugin rules apply --run 3 --rule only:file=park_list.csv --rule thresholds:species=0.8,genus=0.6
    """
    from bioclip_plugin.rules.settings import parse_rules
    from bioclip_plugin.running.rules_pass import apply_rules
    from bioclip_plugin.store import Store

    console = console_for(to_stderr=as_json)
    plugins = plugins_of(ctx)
    with log_lines(console), terminated_like_interrupted(), Store.open(store, create=False) as opened:
        base = opened.run(run)
        texts = rules or tuple(base.settings.get("rules", ()))
        if not texts:
            raise UsageError(
                f"run {base.id} has no rules of its own; give --rule NAME (see: bioclip-plugin rules list)"
            )
        active = parse_rules(texts, plugins.rules())
        for rule in active:
            rule.read()
        target = opened.derive_run(base, plan_of(base, active, texts))
        try:
            with Report("Applying rules", console=console) as report:
                applied = apply_rules(opened, target, active, lambda: _engine(base, texts, plugins), report.reach)
        except BaseException as error:
            opened.end_run(target, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed", {})
            raise
        # What classify has not answered yet is its own to finish, or to fail.
        status: RunStatus = "interrupted" if opened.summary(target).todo else "finished"
        opened.end_run(target, status, {"seconds": round(report.seconds, 1), "rules": applied.as_dict()})
        where = shlex.quote(opened.shown_address)
    if as_json:
        print_json_line(json.dumps({"run": target.id, "of_run": base.id, **applied.as_dict()}, ensure_ascii=False))
        return EXIT_DONE
    console.print(f"Run {target.id}: the answers of run {base.id} with {', '.join(texts)}" if target.id != base.id else
                  f"Run {target.id} with {', '.join(texts)}")  # fmt: skip
    for line in applied.lines():
        console.print(printable(line))
    console.print(f"Next: bioclip-plugin export --run {target.id} --store {where} --format csv --output results.csv")
    return EXIT_DONE


def plan_of(base: Run, active: Sequence[Rule], texts: Sequence[str]) -> Any:
    """The base's run with other rules."""
    from bioclip_core.identity import settings_id
    from bioclip_plugin.rules.settings import rule_settings
    from bioclip_plugin.store import RunPlan

    threshold = float(base.rule_settings["rules"][0]["threshold"])
    settings = rule_settings(base.answer_id, threshold, active, base.sources)
    return RunPlan(
        sources=base.sources, settings={**base.settings, "rules": list(texts)}, feature_id=base.feature_id,
        feature_settings=base.feature_settings, dimension=base.dimension, answer_id=base.answer_id,
        answer_settings=base.answer_settings, rule_id=settings_id(settings), rule_settings=settings,
        provenance=base.provenance,
    )  # fmt: skip


def _engine(base: Run, texts: Sequence[str], plugins: BioclipPluginManager) -> Engine:
    """The model and labels of a run, found again by its settings and known by their contents.

    Raises:
        UsageError: if they are others now.
    """
    from bioclip_plugin.running.engine import Engine

    known = {field.name for field in fields(ClassifyRequest)}
    asked = {name: value for name, value in base.settings.items() if name in known}
    engine = Engine(ClassifyRequest.from_mapping({**asked, "rules": tuple(texts)}), plugins)
    engine.keep_precision([base.feature_settings])
    ids = engine.identities
    if ids.answer_id != base.answer_id:
        other = _different(
            {**base.feature_settings, **base.answer_settings}, {**ids.feature_settings, **ids.answer_settings}
        )
        raise UsageError(
            f"run {base.id} was made with another {', '.join(other)} than {asked.get('model')} has here now; put back what it "
            "had, or run classify again (stored features are used where the model is the same), then apply the rules"
        )
    return engine


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [name for name in sorted({*before, *now} - {"feature_id"}) if before.get(name) != now.get(name)]
    return [name.replace("_", " ") for name in names]
