"""Execution engines of plugins, behind a stand-in that checks what they give and names the plugin in whatever goes wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bioclip_plugin.contracts.checking import checked_name
from bioclip_plugin.contracts.containing import Garbage, Owner, shown
from bioclip_plugin.contracts.engine import ShardJob, ShardResult

if TYPE_CHECKING:
    from bioclip_plugin.items.request import ClassifyRequest


def contained_engine(engine: Any, owner: Owner) -> ContainedEngine:
    """Return an engine behind its stand-in."""
    name = checked_name(getattr(engine, "name", None), "engine")
    for method in ("is_worker", "check", "work"):
        if isinstance(engine, type) or not callable(getattr(engine, method, None)):
            raise Garbage(f"the engine {name} is {shown(engine)}; an object with is_worker, check and work is needed")
    if not isinstance(getattr(engine, "description", None), str):
        raise Garbage(
            f"the engine {name} has the description {shown(getattr(engine, 'description', None))}; a text is needed"
        )
    return ContainedEngine(engine, owner)


class ContainedEngine:
    """An engine of a plugin."""

    def __init__(self, engine: Any, owner: Owner) -> None:
        self.name = str(engine.name)
        self.description = " ".join(engine.description.split())
        self._engine, self._owner = engine, owner
        if callable(getattr(engine, "missing", None)):
            self.missing = self._missing

    def is_worker(self) -> bool:
        """True in a process that only works on shards.

        Raises:
            PluginError: if the engine fails, or says neither yes nor no.
        """
        answer = self._call("is_worker")
        if not isinstance(answer, bool):
            raise self._garbage("is_worker", answer, "True or False")
        return answer

    def check(self, request: ClassifyRequest, workers: int | None) -> None:
        """Refuse what cannot work.

        Raises:
            BioclipError: if the engine refuses, or fails.
        """
        self._call("check", request, workers)

    def work(self, job: ShardJob) -> Iterator[ShardResult]:
        """Yield the shards whose parts are there, each of them once.

        Raises:
            BioclipError: if the engine fails, or gives something else.
        """
        what = f"work of the engine {self.name}"
        left = set(job.shards)
        for result in self._owner.iterate(what, self._call("work", job)):
            if not isinstance(result, ShardResult):
                raise self._garbage("work", result, "a ShardResult")
            if result.shard in left:
                left.discard(result.shard)
                yield result
            elif result.shard not in job.shards:
                raise self._garbage("work", result, "a shard of the job")

    def _missing(self) -> str:
        text = self._call("missing")
        if not isinstance(text, str):
            raise self._garbage("missing", text, "a text")
        return " ".join(text.split())

    def _call(self, method: str, *args: Any) -> Any:
        return self._owner.call(f"{method} of the engine {self.name}", getattr(self._engine, method), *args)

    def _garbage(self, method: str, value: Any, needed: str) -> Exception:
        what = f"{method} of the engine {self.name}"
        return self._owner.blamed(what, Garbage(f"{what} gave {shown(value)}; {needed} is needed"))
