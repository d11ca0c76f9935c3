"""The examination: every check contained and given up after its limit, so that the others are made whatever happens to one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any

from bioclip_core import __version__
from bioclip_core.errors import BioclipError
from bioclip_core.process.threads import GivenUp, Job, Workers
from bioclip_plugin.doctor.apart import Apart
from bioclip_plugin.doctor.failures import failed, silent
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.redacting import Redactor
from bioclip_plugin.doctor.report import Fact, Finding, Problem, Report, Result, State, Step

LONG = 6
"""Factor of the limit of long steps."""


@dataclass(frozen=True, slots=True)
class Check:
    """A subject of the examination."""

    name: str
    title: str
    look: str | Callable[[DoctorOptions], Iterable[Finding]]
    """The function, or its place as ``module:function``. One that runs apart takes the keys of the steps to leave out too."""
    apart: bool = False
    """True if it may crash, hang in C, or change the process: it runs in a process of its own."""
    alone: bool = False
    """True if it measures time, so that nothing else runs meanwhile."""
    needs_torch: bool = False


_ROOM = "bioclip_plugin.doctor"
CHECKS = (
    Check("machine", "Machine", f"{_ROOM}.machine:look"),
    Check("memory", "Memory", f"{_ROOM}.machine:look_at_memory"),
    Check("language", "Language and time", f"{_ROOM}.language:look"),
    Check("environment", "Environment", f"{_ROOM}.environment:look"),
    Check("packages", "Packages", f"{_ROOM}.packages:look", apart=True),
    Check("disks", "Disks", f"{_ROOM}.disks:look", apart=True),
    Check("store", "Store", f"{_ROOM}.stores:look", apart=True),
    Check("plugins", "Plugins", f"{_ROOM}.plugin_faults:look", apart=True),
    Check("fetched", "Fetched images", f"{_ROOM}.detector_files:look_at_fetched", apart=True),
    Check("models", "Models", f"{_ROOM}.model_files:look", apart=True),
    Check("computing", "Computing", f"{_ROOM}.computing:look", apart=True, alone=True, needs_torch=True),
)
"""All checks, in the order of the report."""


@dataclass(slots=True)
class _Collected:
    """The findings of a check so far; those of a check that does not end are kept."""

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    step: Step | None = None
    began_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None

    def take(self, found: Finding) -> None:
        if isinstance(found, Fact):
            self.facts[found.key] = found.value
        elif isinstance(found, Problem):
            if found not in self.problems:  # the check may have begun again
                self.problems.append(found)
        else:
            self.step = found

    def result(self, check: Check, state: State = "done") -> Result:
        seconds = (self.ended_at or time.monotonic()) - self.began_at
        return Result(check.name, check.title, state, dict(self.facts), tuple(self.problems), seconds)


def examine(
    options: DoctorOptions | None = None, *, checks: Sequence[Check] = CHECKS, addresses: Iterable[str] = ()
) -> Report:
    """Make all checks and return the report, with secrets and user names taken out. Nothing is changed, fetched or sent.

    Args:
        options: the options; None: the defaults.
        checks: the checks, in the order of the report.
        addresses: addresses whose passwords never appear, beside that of the store.
    """
    options = options or DoctorOptions()
    apart = Apart()
    try:
        wanted = [check for check in checks if not (options.no_model and check.needs_torch)]
        found = dict(_made([check for check in wanted if not check.alone], options, apart))
        for check in wanted:
            if check.alone:
                found |= dict(_made([check], options, apart))
    finally:
        apart.close()
    left_out = {check.name: Result(check.name, check.title, "left out") for check in checks}
    return Report(__version__, tuple(_each_plugin_once({**left_out, **found}.values()))).mapped(
        Redactor.of_process(None, options.store or "", options.model, *addresses)
    )


def _each_plugin_once(results: Iterable[Result]) -> Iterator[Result]:
    """Leave out the faults of plugins that an earlier check found: several load them."""
    seen: set[str] = set()
    for result in results:
        kept = tuple(one for one in result.problems if one.code not in seen)
        seen |= {one.code for one in kept if one.code.startswith("plugins.")}
        yield replace(result, problems=kept)


def _made(checks: Sequence[Check], options: DoctorOptions, apart: Apart) -> Iterator[tuple[str, Result]]:
    """Make checks at the same time and yield their results."""
    workers = Workers(max(len(checks), 1), "bioclip-doctor")
    collected = {check.name: _Collected() for check in checks}
    try:
        jobs = [(check, _submitted(workers, check, options, apart, collected[check.name])) for check in checks]
        for check, job in jobs:
            into = collected[check.name]
            if job is None:
                yield check.name, into.result(check, "failed")
                continue
            try:
                # One that runs apart is given up by its own thread, which ends the process too.
                state = job.result(None if check.apart else options.patience)
            except GivenUp:
                into.take(silent(check.name, into.step, options.patience))
                state = "given up"
            yield check.name, into.result(check, state)
    finally:
        workers.close(wait_s=0)


def _submitted(
    workers: Workers, check: Check, options: DoctorOptions, apart: Apart, into: _Collected
) -> Job[State] | None:
    """Have a check made by a thread; None if the system allows no further one."""
    try:
        return workers.submit(_timed, check, options, apart, into)
    except (RuntimeError, BioclipError) as error:
        into.take(failed(check.name, error))
        return None


def _timed(check: Check, options: DoctorOptions, apart: Apart, into: _Collected) -> State:
    into.began_at = time.monotonic()
    try:
        return _make(check, options, apart, into)
    finally:
        into.ended_at = time.monotonic()


def _make(check: Check, options: DoctorOptions, apart: Apart, into: _Collected) -> State:
    try:
        if check.apart and not apart.is_possible:
            return "left out"
        if check.apart and isinstance(check.look, str):
            limits = (options.patience, options.patience * LONG)
            return apart.run(check.name, check.look, options, limits, into.take, partial(silent, check.name))
        for found in function_at(check.look)(options):
            into.take(found)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a broken package may raise anything
        into.take(failed(check.name, error))
        return "failed"
    return "done"


def function_at(look: str | Callable[..., Iterable[Finding]]) -> Callable[..., Iterable[Finding]]:
    """Return the function of a check, imported if need be."""
    if not isinstance(look, str):
        return look
    module, _, name = look.partition(":")
    function: Callable[..., Iterable[Finding]] = getattr(import_module(module), name)
    return function


def show(report: Report, *, as_json: bool) -> None:
    """Write a report to standard output, whatever its encoding."""
    import json

    text = json.dumps(report.as_json(), ensure_ascii=True) if as_json else report.text()
    stream = sys.stdout
    if stream is None:  # the process was started without one
        return
    with suppress(AttributeError, OSError, ValueError):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    stream.write(f"{text}\n")
    stream.flush()
