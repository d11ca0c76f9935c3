"""Run of an evaluation on published sets: each one is read, encoded, measured and kept, and the report has all of them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.device import Compute, choose_compute
from bioclip_core.encoder import Encoder
from bioclip_core.errors import BioclipError, DataError, SourceError
from bioclip_core.files.documents import read_document
from bioclip_core.files.homes import with_home
from bioclip_core.files.whole import write_whole
from bioclip_core.findings import Findings
from bioclip_core.identity import settings_id
from bioclip_core.models import FoundModel, ModelEntry
from bioclip_core.nouns import number_of
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.progress import silent
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.evaluation.provenance import library_versions
from bioclip_training.suites.attribute_tasks import LEARNING_RATES
from bioclip_training.suites.config import SuiteConfig
from bioclip_training.suites.encoders import encoder_id, find_encoder, opened, preprocessing_for
from bioclip_training.suites.features import SetFeatures, encode_set, set_id
from bioclip_training.suites.images import MissingSetError, SetImages
from bioclip_training.suites.measuring import NOT_COMPARABLE, Measurement
from bioclip_training.suites.report import suite_html
from bioclip_training.suites.result import FAILED, MEASURED, MISSING, SetResult
from bioclip_training.suites.sets import EvaluationSet, chosen_sets, located
from bioclip_training.suites.tasks import measure

log = logging.getLogger("bioclip_plugin.training")

REPORT, DOCUMENT, FEATURES, RESULTS = "report.html", "suite.json", "features", "sets"
FORMAT_VERSION = 1
PROTOCOL_VERSION = 1
"""Raise it when the same features give other figures."""
_OF_OTHERS = "is not the folder of an evaluation on published sets; give another --output"


@dataclass(frozen=True, slots=True)
class SuiteOutcome:
    """Results of all sets, and what they were measured with."""

    config: SuiteConfig
    results: tuple[SetResult, ...]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Model:
    found: FoundModel
    encoder: Encoder
    preprocessing: Preprocessing
    compute: Compute
    id: str


def evaluate_suites(
    config: SuiteConfig, entries: Mapping[str, ModelEntry] | None = None, progress: StageProgress = silent
) -> SuiteOutcome:
    """Measure a model on published evaluation sets and write ``report.html`` and ``suite.json``.

    A set that is missing or cannot be measured is a result with a reason, and the others go on. Features and results are kept in the
    output folder by what they depend on; the same command continues an interrupted run and measures nothing twice.

    Args:
        config: the settings.
        entries: the registry of models, by name.
        progress: called with the stage, the number done so far and the total.

    Raises:
        UsageError: for an unknown set, or an output folder of something else.
        DataError: if the root is not a folder, or none of the sets is in it.
        ModelError: if the model cannot be opened.
    """
    wanted, root, output = chosen_sets(config.suites), with_home(str(config.root)), with_home(config.output)
    if not root.is_dir():
        raise DataError(f"--root {root} is not a folder")
    _check_output(output)
    _check_libraries(wanted)
    _check_present(wanted, root)
    model = _opened(config, entries or {})
    output.mkdir(parents=True, exist_ok=True)
    results: list[SetResult] = []
    for number, one in enumerate(wanted):
        progress("Sets", number, len(wanted))
        results.append(_result(config, one, root, output, model, progress))
        _write(output, outcome := SuiteOutcome(config, tuple(results), _provenance(config, model)))
    progress("Sets", len(wanted), len(wanted))
    return outcome


def _check_output(output: Path) -> None:
    """Refuse a folder that holds anything but an earlier evaluation on published sets."""
    if not output.exists():
        return
    if not output.is_dir():
        raise DataError(f"--output {output} is a file; give the name of a folder")
    others = sorted({entry.name for entry in output.iterdir()} - {REPORT, DOCUMENT, FEATURES, RESULTS})
    others = [name for name in others if not name.startswith(f".{REPORT}") and not name.startswith(f".{DOCUMENT}")]
    if others:
        raise DataError(f"--output {output} holds {others[0]} and {_OF_OTHERS}")


def _check_libraries(wanted: Sequence[EvaluationSet]) -> None:
    """Refuse sets that need scikit-learn, or scipy that comes with it, without it, before anything is encoded."""
    needing = [one.name for one in wanted if one.kind in ("newt", "herbarium-19")]
    if needing and find_spec("sklearn") is None:
        raise BioclipError(
            f"{', '.join(needing)}: scikit-learn is needed, which is not installed; get it with: pip install 'bioclip-plugin[train]'"
        )


def _check_present(wanted: Sequence[EvaluationSet], root: Path) -> None:
    """Refuse a root without any of the sets, before the model is opened."""
    missing = []
    for one in wanted:
        try:
            located(one, root)
        except MissingSetError as error:
            missing.append(str(error))
    if len(missing) == len(wanted):
        more = f" ({number_of(len(missing) - 1, 'more set')} of {len(wanted)} missing too)" if len(missing) > 1 else ""
        raise MissingSetError(f"{missing[0]}{more}")


def _opened(config: SuiteConfig, entries: Mapping[str, ModelEntry]) -> _Model:
    compute = choose_compute(config.device, config.precision)
    found = find_encoder(config.model, entries)
    encoder = opened(found, compute)
    preprocessing = preprocessing_for(found, encoder, config.resize, exact=config.exact)
    return _Model(found, encoder, preprocessing, compute, encoder_id(encoder, preprocessing, compute))


def _result(
    config: SuiteConfig, wanted: EvaluationSet, root: Path, output: Path, model: _Model, progress: StageProgress
) -> SetResult:
    """Return the result of a set: a finished one, a new one, or the reason why there is none."""
    findings = Findings()
    folder = Path()
    try:
        folder, form = located(wanted, root)
        images = form[2](folder, findings)
        key = _key(config, wanted, images, model)
        file = output / RESULTS / f"{wanted.name}.json"
        if (kept := _kept(file, key)) is not None:
            log.info("%s: finished earlier with the same files and settings", wanted.name)
            return kept
        found = _measured(config, wanted, folder, images, findings, output, model, progress)
    except MissingSetError as error:
        log.debug("%s is missing: %s", wanted.name, error)
        return SetResult(wanted.name, wanted.title, MISSING, str(error))
    except (DataError, SourceError) as error:
        log.debug("%s cannot be measured: %s", wanted.name, error)
        return SetResult(wanted.name, wanted.title, FAILED, str(error), str(folder), findings=tuple(findings.lines()))
    file.parent.mkdir(exist_ok=True)
    write_whole(file, json.dumps({"key": key, **found.as_json()}, indent=1, allow_nan=False) + "\n")
    return found


def _key(config: SuiteConfig, wanted: EvaluationSet, images: SetImages, model: _Model) -> str:
    settings = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("suites", "root", "output", "batch_size", "workers", "device", "model")
    }
    listed = {
        "classes": images.classes, "class": images.class_N.tolist(), "groups": images.groups, "splits": images.splits,
        "targets": images.target_NA.tolist(), "taxa": [[*taxon.lineage, taxon.common_name] for taxon in images.taxa],
        "tasks": [[one.name, one.rows_T.tolist(), one.labels_T.tolist(), one.is_train_T.tolist()] for one in images.tasks],
    }  # fmt: skip
    return settings_id(
        {
            "set": wanted.name,
            "files": set_id(images),
            "listed": listed,
            "model": model.id,
            "settings": settings,
            "protocol": PROTOCOL_VERSION,
        }
    )


def _kept(file: Path, key: str) -> SetResult | None:
    with suppress(BioclipError, KeyError, TypeError):
        held = read_document(file, dict[str, Any], name="result")
        if held.pop("key", None) == key:
            return SetResult.from_json(held)
    return None


def _measured(
    config: SuiteConfig,
    wanted: EvaluationSet,
    folder: Path,
    images: SetImages,
    findings: Findings,
    output: Path,
    model: _Model,
    progress: StageProgress,
) -> SetResult:
    features = encode_set(
        images, model.encoder, model.id, model.preprocessing, output / FEATURES, lengths=wanted.kind in LEARNING_RATES,
        batch_size=config.batch_size, workers=config.workers,
        progress=lambda what, done, total: progress(f"{what} {wanted.name}", done, total),
    )  # fmt: skip
    group_N, remarks = images.group_numbers(features.sha256_N), _other_counts(wanted, images)
    task = Measurement(config, wanted, images, model.encoder, features, group_N, findings, remarks, progress)
    figures, settings = measure(task)
    details: dict[str, Any] = settings.pop("details", {})
    usable = task.usable
    return SetResult(
        wanted.name, wanted.title, MEASURED, folder=str(folder), images=len(usable), failed=len(images) - len(usable),
        classes=len(images.tasks) or len(images.attributes) or len(np.unique(images.class_N[usable])), groups=task.groups_of(usable),
        grouped_by=images.grouped_by, comparable=not any(NOT_COMPARABLE in remark for remark in remarks), figures=tuple(figures),
        findings=(*remarks, *findings.lines()), failures=_failures(images, features), details=details, settings=settings,
    )  # fmt: skip


def _other_counts(wanted: EvaluationSet, images: SetImages) -> list[str]:
    """Return a sentence for a set of another size than the published one, whose figures cannot be compared."""
    classes = len(images.tasks) or len(images.attributes) or len(images.classes)
    other = [
        f"{here:,} {what} instead of {published:,}"
        for what, published, here in (
            ("images", wanted.images, len(images)),
            (wanted.counts, wanted.classes, classes),
        )
        if published and here != published
    ]
    return [f"it has {' and '.join(other)}: {NOT_COMPARABLE}"] if other else []


def _failures(images: SetImages, features: SetFeatures) -> tuple[dict[str, Any], ...]:
    counted: dict[str, dict[str, Any]] = {}
    for row in np.flatnonzero(~features.is_usable).tolist():
        stage, _, reason = features.fault_N[row].partition(": ")
        counted.setdefault(stage, {"stage": stage, "images": 0, "first": f"{images.uris[row]}: {reason}"})[
            "images"
        ] += 1
    return tuple(counted.values())


def _provenance(config: SuiteConfig, model: _Model) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "options": asdict(config),
        "model": {"name": model.found.name, **model.encoder.identity},
        "preprocessing": model.preprocessing.identity(),
        "device": model.compute.described(),
        "precision": model.compute.precision,
        "versions": library_versions("timm", "scikit-learn"),
    }


def _write(output: Path, outcome: SuiteOutcome) -> None:
    document = {**outcome.provenance, "sets": {result.name: result.as_json() for result in outcome.results}}
    write_whole(output / DOCUMENT, json.dumps(document, indent=1, allow_nan=False) + "\n")
    write_whole(output / REPORT, suite_html(outcome.results, outcome.provenance))
