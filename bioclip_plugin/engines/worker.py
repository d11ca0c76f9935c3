"""Workers: a process with an open model that turns shards into parts. It has no store and lists nothing."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bioclip_core import __version__
from bioclip_core.errors import DataError
from bioclip_core.findings import Findings
from bioclip_core.identity import settings_id
from bioclip_plugin.contracts.engine import ShardResult
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.engines.attempts import MOST_LOST, Attempts
from bioclip_plugin.engines.documents import item_from, parsed_line
from bioclip_plugin.engines.folder import Plan, WorkFolder
from bioclip_plugin.engines.part_store import PartStore
from bioclip_plugin.engines.parts import About, write_part
from bioclip_plugin.engines.turns import POLL_S
from bioclip_plugin.engines.watch import Watch
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.request import DETECTION, ClassifyRequest
from bioclip_plugin.rules.settings import rule_settings
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.pipeline import Pipeline
from bioclip_plugin.store.records import ItemRecord, Run

LOST = "workers were lost (killed, out of memory, or their machine ended); their shards were worked on again"
"""Text of the finding about lost workers."""
NO_PLAN = (
    "no plan in the work folder {}: give the same command where images are listed first, outside the workers, and a folder that every "
    "worker sees"
)


class Worker:
    """Works on the shards of one plan."""

    def __init__(
        self, folder: Path, request: ClassifyRequest, plugins: BioclipPluginManager, watch: Watch | None = None
    ) -> None:
        """Read the plan, and compare it with the model and labels as they are here.

        Args:
            folder: the work folder.
            request: the request of the run.
            plugins: plugins of this process, which the worker closes.
            watch: ends the process if the worker is stuck; None for a process that does other work, too.

        Raises:
            DataError: without a plan, and if this process would give other answers than the plan's.
            ModelError, LabelSetError: if the model or the labels are not here.
        """
        self._folder = WorkFolder(folder)
        plan = self._folder.plan()
        if plan is None:
            raise DataError(NO_PLAN.format(folder))
        self._plan, self._run = plan, _run_of(plan)
        self._plugins, self._engine, self._watch = plugins, Engine(request, plugins), watch or Watch(math.inf)
        self._engine.keep_precision([plan.feature_settings])
        if plan.feature_settings.get("quantised") and not self._engine.is_recorded_int8:
            raise DataError(
                f"the int8 model of the plan in {self._folder.folder} is not in the cache of {platform.node()}: every worker needs the "
                "cache of the program that listed the images (BIOCLIP_CACHE), and OpenVINO"
            )
        self._check()

    def work(self, shard: str, *, waits: bool = True) -> ShardResult | None:
        """Answer the images of a shard and write its part; see :class:`ShardWorker`."""
        while True:
            if self._folder.has_part(shard):
                return ShardResult(shard, 0, 0, was_done=True)
            with self._folder.claimed(shard) as is_ours:
                if is_ours is not False:
                    return self._worked(shard, is_alone=is_ours is True)
            if not waits:
                return None
            time.sleep(POLL_S)

    def close(self) -> None:
        """Close what plugins keep open."""
        self._plugins.close()

    def _check(self) -> None:
        """Refuse work if results would not be those of the plan."""
        ids, plan, request = self._engine.identities, self._plan, self._engine.request
        wanted = {**_decisive(plan.rule_settings), **plan.feature_settings, **plan.answer_settings}
        # All other rules are applied later, in the store.
        rules = rule_settings(ids.answer_id, request.threshold, (), detection=self._engine.detection_settings())
        here = {**_decisive(rules), **ids.feature_settings, **ids.answer_settings}
        found = next(_differences(here, wanted), None)
        if found is None:
            return
        name, ours, planned = found
        raise DataError(
            f"the plan in {self._folder.folder} is for other answers than this command on {platform.node()} gives: {name} is "
            f"{ours!r} here and {planned!r} in the plan; use the same command, version, model and plugins everywhere"
        )

    def _worked(self, shard: str, *, is_alone: bool) -> ShardResult:
        if self._folder.has_part(shard):  # since we asked
            return ShardResult(shard, 0, 0, was_done=True)
        attempts = Attempts(self._folder.folder, shard, is_alone=is_alone)
        if attempts.is_hopeless:
            raise DataError(
                f"shard {shard}: {MOST_LOST} workers were lost while they worked on it; see why they end (memory, time limit), "
                "then give the command again"
            )
        items = [item_from(parsed_line(line)) for line in self._folder.lines(self._folder.shard_file(shard))]
        began = time.monotonic()
        results, findings = PartStore([(item.uri, item.frame) for item in items]), Findings()
        if attempts.lost:
            findings.add(LOST, shard, attempts.lost)
        with attempts.one(), self._watch.watching(f"shard {shard}"):
            if attempts.is_careful:
                self._answer_one_by_one(items, attempts, results, findings)
            else:
                self._answer(items, results, findings)
            rows = results.rows()
            failed = sum(row.record.failure is not None for row in rows)
            about = About(
                shard, self._plan.answer_id, len(rows), failed, round(time.monotonic() - began, 3), self._here(),
                [list(found) for found in findings.found()],
            )  # fmt: skip
            with self._folder.writing():
                write_part(self._folder.part_file(shard), rows, about)
        return ShardResult(shard, len(rows), failed)

    def _answer(self, entries: Sequence[MediaItem], results: PartStore, findings: Findings) -> None:
        pipeline = Pipeline(self._engine, results, self._run, findings=findings)
        for _ in pipeline.answers(entries):
            self._watch.progressed()

    def _answer_one_by_one(
        self, items: Sequence[MediaItem], attempts: Attempts, results: PartStore, findings: Findings
    ) -> None:
        """Answer with a note before each image; one that ended several workers is a failure."""
        for number, item in enumerate(items):
            if times := attempts.fatal.get(number):
                reason = f"{times} workers ended without a word while they worked on this image alone"
                (listed,) = results.list_items(self._run, [item], [None])
                results.commit(self._run, [ItemRecord(listed, item, failure=Failure("decode", reason))])
                continue
            attempts.note(number)
            self._answer([item], results, findings)

    def _here(self) -> dict[str, str]:
        device = self._engine.chosen[0].described() if self._engine.is_computing else ""
        return {"host": platform.node(), "device": device, "bioclip_plugin": __version__}


def _decisive(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's decisions that are made by workers: the consensus and the boxes of a detector."""
    detection, consensus = rules.get(DETECTION) or {}, rules["rules"][0]
    return {
        "consensus_version": consensus["version"],
        "threshold": consensus["threshold"],
        "detector": (detection.get("detector") or {}).get("name"),
        "detector_id": detection.get("detector_id"),
        "detection_threshold": detection.get("threshold"),
    }


def _differences(here: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name and both values of each setting that differs, with the member of a group that does."""
    for name in {**wanted, **here}:
        ours, planned = here.get(name), wanted.get(name)
        if settings_id({"": ours}) == settings_id({"": planned}):  # JSON has no tuples
            continue
        if isinstance(ours, Mapping) and isinstance(planned, Mapping):
            yield from ((f"{name} {member}", *both) for member, *both in _differences(ours, planned))
        else:
            yield name, ours, planned


def _run_of(plan: Plan) -> Run:
    """Return the run as the pipeline needs it."""
    now = datetime.now(UTC)
    return Run(
        id=plan.run, key=plan.key, sources=(), created_at=now, begun_at=now, ended_at=None, status="running", resumed=False,
        settings=plan.settings, provenance={}, earlier_provenance=(), feature_set=0, answer_set=0, decision_set=0,
        feature_id=plan.feature_id, answer_id=plan.answer_id, rule_id=plan.rule_id, feature_settings=plan.feature_settings,
        answer_settings=plan.answer_settings, rule_settings=plan.rule_settings, dimension=plan.dimension, counts={},
    )  # fmt: skip
