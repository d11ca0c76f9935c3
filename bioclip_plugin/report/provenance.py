"""Provenance of a report's results: run, model with licence and citation, labels, rules, options, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from bioclip_core.models import ModelEntry
from bioclip_plugin.items.request import DETECTION
from bioclip_plugin.store.records import ENCODED_WITH, Run

_MOST = 12  # values shown of a list
_UNKNOWN_LICENCE = "not stated by this installation; ask the provider of the model"


def provenance_rows(run: Run, models: Mapping[str, ModelEntry]) -> list[tuple[str, str]]:
    """Return the names and values at the foot of a report, without the host and the place of the store."""
    model = _model_of(run)
    entry = models.get(str(model.get("name", "")))
    revision = f", revision {model['revision']}" if model.get("revision") else ""
    rows = [
        ("Model", str(model.get("name") or "not stated")),
        ("From", f"{model.get('source', '')}{revision}"),
        ("Weights, sha256", str(run.feature_settings.get("weights_sha256") or model.get("weights_sha256", ""))),
        ("Licence of the model", str(model.get("licence") or (entry.licence if entry else "")) or _UNKNOWN_LICENCE),
        ("Please cite", entry.citation if entry else ""),
        ("Labels", _listed(run.answer_settings, leave_out=("feature_id", "blocks"))),
        ("Detector", _detector(run)),
        ("Rules", _rules({name: value for name, value in run.rule_settings.items() if name != DETECTION})),
        ("Preprocessing", _listed(run.feature_settings, leave_out=("weights_sha256",))),
        ("Encoded with", _listed(_encoded_with(run))),
        ("Options", _listed(run.settings, leave_out=("store", "device", "workers", "batch_size"))),
        ("Run", f"{run.id} of {', '.join(run.sources) or 'the whole store'}; {run.status}"),
        ("Begun, ended", f"{_moment(run.begun_at)}, {_moment(run.ended_at)}"),
        ("Identities", f"features {run.feature_id[:16]}, answers {run.answer_id[:16]}, decisions {run.rule_id[:16]}"),
        ("Software", ", ".join(_software(run.provenance))),
    ]
    return [(name, value) for name, value in rows if value]


def classified_by(run: Run) -> str:
    """Return the model and the software in a few words."""
    name = str(_model_of(run).get("name", ""))
    version = run.provenance.get("bioclip_plugin", "")
    return f"{name or 'a model'} (bioclip-plugin {version})" if version else name or "a model"


def _detector(run: Run) -> str:
    """Return name, version, threshold and licence of the detector in front of the model; empty without one."""
    if run.detector is None:
        return ""
    given = run.provenance.get("detector")
    licence = str(given.get("licence", "")) if isinstance(given, Mapping) else ""
    threshold = f"boxes from {run.rule_settings[DETECTION].get('threshold')}"
    return ", ".join(part for part in (" ".join(run.detector).strip(), threshold, licence) if part)


def _model_of(run: Run) -> Mapping[str, Any]:
    model = run.provenance.get("model")
    return model if isinstance(model, Mapping) else {}


def _encoded_with(run: Run) -> Mapping[str, Any]:
    """Return runtime, device and precision of the features that the run computed; empty if the store had all of them."""
    found = run.provenance.get(ENCODED_WITH)
    return found if isinstance(found, Mapping) else {}


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "not ended"


def _rules(settings: Mapping[str, Any]) -> str:
    rules = settings.get("rules")
    if not isinstance(rules, list):
        return _listed(settings, leave_out=("answer_id",))
    rests = [_listed(rule, leave_out=("name", "version")) for rule in rules]
    return "; ".join(
        f"{rule.get('name', '')} {rule.get('version', '')}{f' ({rest})' if rest else ''}"
        for rule, rest in zip(rules, rests, strict=True)
    )


def _listed(values: Mapping[str, Any], leave_out: tuple[str, ...] = ()) -> str:
    """Return names and values on a line, without empty values."""
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
