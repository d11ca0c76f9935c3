"""Where a report's results come from: run, model with licence and citation, labels, rules, options, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from bioclip_core.models import ModelEntry
from bioclip_plugin.store.records import Run

_MOST = 12  # values of a list
_UNKNOWN_LICENCE = "not stated by this installation; ask whoever gave you the model"


def provenance_rows(run: Run, models: Mapping[str, ModelEntry]) -> list[tuple[str, str]]:
    """What stands at the report's foot, as names and values; neither the host nor where the store is kept."""
    model = run.provenance.get("model")
    said: Mapping[str, Any] = model if isinstance(model, Mapping) else {}
    entry = models.get(str(said.get("name", "")))
    revision = f", revision {said['revision']}" if said.get("revision") else ""
    rows = [
        ("Model", str(said.get("name") or "not stated")),
        ("From", f"{said.get('source', '')}{revision}"),
        ("Weights, sha256", str(run.feature_settings.get("weights_sha256") or said.get("weights_sha256", ""))),
        ("Licence of the model", str(said.get("licence") or (entry.licence if entry else "")) or _UNKNOWN_LICENCE),
        ("Please cite", entry.citation if entry else ""),
        ("Labels", _listed(run.answer_settings, leave_out=("feature_id", "blocks"))),
        ("Rules", _rules(run.rule_settings)),
        ("Preprocessing", _listed(run.feature_settings, leave_out=("weights_sha256",))),
        ("Options", _listed(run.settings, leave_out=("store", "device", "workers", "batch_size"))),
        ("Run", f"{run.id} of {', '.join(run.sources) or 'the whole store'}; {run.status}"),
        ("Begun, ended", f"{_moment(run.begun_at)}, {_moment(run.ended_at)}"),
        ("Identities", f"features {run.feature_id[:16]}, answers {run.answer_id[:16]}, decisions {run.rule_id[:16]}"),
        ("Software", ", ".join(_software(run.provenance))),
    ]
    return [(name, value) for name, value in rows if value]


def classified_by(run: Run) -> str:
    """The model and the software in a few words."""
    model = run.provenance.get("model")
    name = str(model.get("name", "")) if isinstance(model, Mapping) else ""
    version = run.provenance.get("bioclip_plugin", "")
    return f"{name or 'a model'} (bioclip-plugin {version})" if version else name or "a model"


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "not ended"


def _rules(settings: Mapping[str, Any]) -> str:
    rules = settings.get("rules")
    if not isinstance(rules, list):
        return _listed(settings, leave_out=("answer_id",))
    lines = []
    for rule in rules:
        rest = _listed(rule, leave_out=("name", "version"))
        lines.append(f"{rule.get('name', '')} {rule.get('version', '')}{f' ({rest})' if rest else ''}")
    return "; ".join(lines)


def _listed(values: Mapping[str, Any], leave_out: tuple[str, ...] = ()) -> str:
    """Names and values on a line; what is empty says nothing."""
    return ", ".join(
        f"{name.replace('_', ' ')}: {_value(value)}"
        for name, value in values.items()
        if name not in leave_out and value not in (None, "", [], {}, (), False)
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    if isinstance(value, (list, tuple)):
        more = f" and {len(value) - _MOST} more" if len(value) > _MOST else ""
        return " ".join(_value(one) for one in value[:_MOST]) + more
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _software(provenance: Mapping[str, Any]) -> Iterator[str]:
    if provenance.get("bioclip_plugin"):
        yield f"bioclip-plugin {provenance['bioclip_plugin']}"
    packages = provenance.get("packages")
    for name, version in sorted(packages.items()) if isinstance(packages, Mapping) else ():
        yield f"{name} {version}"
    if provenance.get("python"):
        yield f"Python {provenance['python']}"
