"""Run of an evaluation on published sets: each one is read, encoded, measured and kept, and the report has all of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.device import Compute, choose_compute
from bioclip_core.encoder import Encoder
from bioclip_core.errors import BioclipError, DataError, SourceError
from bioclip_core.files.homes import with_home
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
from bioclip_training.suites.kept_tasks import KeptTasks
from bioclip_training.suites.measuring import NOT_COMPARABLE, Measurement
from bioclip_training.suites.outputs import FEATURES, FORMAT_VERSION, RESULTS, SuiteFolder
from bioclip_training.suites.report import suite_html
from bioclip_training.suites.result import FAILED, MEASURED, MISSING, SetResult
from bioclip_training.suites.sets import EvaluationSet, chosen_sets, located
from bioclip_training.suites.sizes import protocol_remarks, size_remarks
from bioclip_training.suites.tasks import measure

log = logging.getLogger("bioclip_plugin.training")

PROTOCOL_VERSION = 3
"""Raise it when the same features give other figures."""


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


@dataclass(frozen=True, slots=True)
class _Read:
    """A set as its files list it, or the reason why it cannot be measured."""

    wanted: EvaluationSet
    folder: Path
    findings: Findings
    images: SetImages | None = None
    unusable: SetResult | None = None

    @property
    def name(self) -> str:
        return self.wanted.name


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
        DataError: if the root is not a folder, none of the sets can be read, or the output folder holds the report of another model,
            of other settings or of more sets.
        ModelError: if the model cannot be opened.
    """
    wanted, root, output = (
        chosen_sets(config.suites),
        with_home(str(config.root)),
        SuiteFolder(with_home(config.output)),
    )
    if not root.is_dir():
        raise DataError(f"--root {root} is not a folder")
    output.check()
    _check_libraries(wanted)
    found = _read_sets(wanted, root, progress)
    model = _opened(config, entries or {})
    record = _provenance(config, root, model)
    files_of = {one.name: set_id(one.images) for one in found if one.images is not None}
    results = output.begin(record, [one.name for one in wanted], files_of, force=config.force)
    for number, one in enumerate(found):
        progress("Sets", number, len(found))
        results[one.name] = _result(config, one, output, model, progress)
        listed = [results[other.name] for other in wanted if other.name in results]
        output.write_document(record, listed)
        output.write_report(suite_html(listed, record))
    progress("Sets", len(found), len(found))
    return SuiteOutcome(config, tuple(results[one.name] for one in wanted), record)


def _check_libraries(wanted: Sequence[EvaluationSet]) -> None:
    """Refuse sets that need scikit-learn, or scipy that comes with it, without it, before anything is encoded."""
    needing = [one.name for one in wanted if one.kind in ("newt", "herbarium-19")]
    if needing and find_spec("sklearn") is None:
        raise BioclipError(
            f"{', '.join(needing)}: scikit-learn is needed, which is not installed; get it with: pip install 'bioclip-plugin[train]'"
        )


def _read_sets(wanted: Sequence[EvaluationSet], root: Path, progress: StageProgress) -> list[_Read]:
    """Read what the sets list, before the model is opened.

    Raises:
        DataError: with the first reason, if none of them can be read.
    """
    found = []
    for number, one in enumerate(wanted):
        progress("Reading", number, len(wanted))
        found.append(_read(one, root))
    progress("Reading", len(wanted), len(wanted))
    unusable = [one.unusable for one in found if one.unusable is not None]
    if len(unusable) == len(found):
        missing = all(result.status == MISSING for result in unusable)
        more = number_of(len(unusable) - 1, "more set")
        others = f" ({more} of {len(found)} {'missing' if missing else 'cannot be read'} too)" if len(found) > 1 else ""
        raise (MissingSetError if missing else DataError)(f"{unusable[0].reason}{others}")
    return found


def _read(wanted: EvaluationSet, root: Path) -> _Read:
    findings, folder = Findings(), Path()
    try:
        folder, form = located(wanted, root)
        return _Read(wanted, folder, findings, form[2](folder, findings))
    except MissingSetError as error:
        status, reason = MISSING, str(error)
    except (DataError, SourceError) as error:
        status, reason = FAILED, str(error)
    log.debug("%s is %s: %s", wanted.name, status, reason)
    shown = str(folder) if status == FAILED else ""
    result = SetResult(wanted.name, wanted.title, status, reason, shown, findings=tuple(findings.lines()))
    return _Read(wanted, folder, findings, unusable=result)


def _opened(config: SuiteConfig, entries: Mapping[str, ModelEntry]) -> _Model:
    compute = choose_compute(config.device, config.precision)
    found = find_encoder(config.model, entries)
    encoder = opened(found, compute)
    preprocessing = preprocessing_for(found, encoder, config.resize, exact=config.exact)
    return _Model(found, encoder, preprocessing, compute, encoder_id(encoder, preprocessing, compute))


def _result(config: SuiteConfig, one: _Read, output: SuiteFolder, model: _Model, progress: StageProgress) -> SetResult:
    """Return the result of a set: a finished one, a new one, or the reason why there is none."""
    if one.images is None:
        assert one.unusable is not None
        return one.unusable
    key = _key(config, one.wanted, one.images, model)
    if (kept := output.kept(one.name, key)) is not None:
        log.info("%s: finished earlier with the same files and settings", one.name)
        return kept
    tasks = KeptTasks(output.path / RESULTS / f"{one.name}.tasks", key)
    try:
        found = _measured(config, one, one.images, output, tasks, model, progress)
    except (DataError, SourceError) as error:
        log.debug("%s cannot be measured: %s", one.name, error)
        return SetResult(
            one.name, one.wanted.title, FAILED, str(error), str(one.folder), findings=tuple(one.findings.lines())
        )
    output.keep(found, key, set_id(one.images))
    tasks.clear()
    return found


def _key(config: SuiteConfig, wanted: EvaluationSet, images: SetImages, model: _Model) -> str:
    settings = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("suites", "root", "output", "batch_size", "workers", "device", "model", "force")
    }
    return settings_id(
        {
            "set": wanted.name,
            "files": set_id(images),
            "listed": _labels(images),
            "model": model.id,
            "settings": settings,
            "protocol": PROTOCOL_VERSION,
        }
    )


def _labels(images: SetImages) -> dict[str, Any]:
    """Return what the files of a set say about its images."""
    return {
        "classes": images.classes, "class": images.class_N.tolist(), "groups": images.groups, "splits": images.splits,
        "targets": images.target_NA.tolist(), "taxa": [[*taxon.lineage, taxon.common_name] for taxon in images.taxa],
        "tasks": [[one.name, one.rows_T.tolist(), one.labels_T.tolist(), one.is_train_T.tolist()] for one in images.tasks],
    }  # fmt: skip


def _measured(
    config: SuiteConfig,
    one: _Read,
    images: SetImages,
    output: SuiteFolder,
    tasks: KeptTasks,
    model: _Model,
    progress: StageProgress,
) -> SetResult:
    wanted = one.wanted
    features = encode_set(
        images, model.encoder, model.id, model.preprocessing, output.path / FEATURES, lengths=wanted.kind in LEARNING_RATES,
        batch_size=config.batch_size, workers=config.workers,
        progress=lambda what, done, total: progress(f"{what} {wanted.name}", done, total),
    )  # fmt: skip
    group_N = images.group_numbers(features.sha256_N)
    remarks = [*size_remarks(wanted, images, one.findings), *protocol_remarks(config, wanted)]
    task = Measurement(config, wanted, images, model.encoder, features, group_N, one.findings, remarks, progress, tasks)
    figures, settings = measure(task)
    details: dict[str, Any] = settings.pop("details", {})
    usable = task.usable
    return SetResult(
        wanted.name, wanted.title, MEASURED, folder=str(one.folder), images=len(usable), failed=len(images) - len(usable),
        classes=len(images.tasks) or len(images.attributes) or len(np.unique(images.class_N[usable])), groups=task.groups_of(usable),
        grouped_by=images.grouped_by, comparable=not any(NOT_COMPARABLE in remark for remark in remarks),
        data_id=settings_id({"names": images.uris, "labels": _labels(images), "bytes": features.sha256_N}), figures=tuple(figures),
        findings=(*remarks, *one.findings.lines()), failures=_failures(images, features), details=details, settings=settings,
    )  # fmt: skip


def _failures(images: SetImages, features: SetFeatures) -> tuple[dict[str, Any], ...]:
    counted: dict[str, dict[str, Any]] = {}
    for row in np.flatnonzero(~features.is_usable).tolist():
        stage, _, reason = features.fault_N[row].partition(": ")
        counted.setdefault(stage, {"stage": stage, "images": 0, "first": f"{images.uris[row]}: {reason}"})[
            "images"
        ] += 1
    return tuple(counted.values())


def _provenance(config: SuiteConfig, root: Path, model: _Model) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "options": asdict(config),
        "root": str(root.resolve()),
        "model": {"name": model.found.name, **model.encoder.identity},
        "preprocessing": model.preprocessing.identity(),
        "device": model.compute.described(),
        "precision": model.compute.precision,
        "versions": library_versions("timm", "scikit-learn"),
    }
