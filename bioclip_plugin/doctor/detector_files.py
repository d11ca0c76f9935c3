"""Detectors: their packages, and checkpoints as they were fetched or confirmed; and folders of fetched images."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError, DataError, ModelUnavailable
from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.report import Fact, Finding, Problem, Step

if TYPE_CHECKING:
    from bioclip_plugin.contracts.detector import Detector

_READ_S = 3.0
_MOST_RECORDS = 20_000


def detectors(found: Mapping[str, Detector], options: DoctorOptions, without: frozenset[str]) -> Iterator[Finding]:
    """Yield the state of each detector; one whose package or checkpoint is not here is no problem."""
    states: dict[str, str] = {}
    for name, detector in found.items():
        key = f"detector {name}"
        if key in without:
            continue
        yield Step(f"asking the detector {name} for its identity", key, True, f"plugins.crash.{name}")
        try:
            if install := _missing(detector):
                states[name] = f"needs packages: {install}"
                continue
            version = detector.version  # before anything is hashed
            if options.no_model:
                states[name] = version
                continue
            detector.identity()
            states[name] = f"there, {version}"
        except ModelUnavailable as error:
            states[name] = f"not fetched: {str(error).removeprefix(f'{key}: ')}"
        except BioclipError as error:
            states[name] = "unusable"
            yield Problem(
                f"detectors.unusable.{name}", str(error), f"commands with --detector {name} are refused",
                "follow the advice in this line, or leave --detector out",
            )  # fmt: skip
    yield Fact("detectors", states)


def _missing(detector: Detector) -> str:
    asked = getattr(detector, "missing", None)
    return str(asked()) if callable(asked) else ""


def look_at_fetched(options: DoctorOptions, _without: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield the state of a folder of fetched images: its version, and records that cannot be read. It is not changed."""
    if options.fetch is None:
        yield Fact("folder", "none given")
        return
    yield Step(f"reading the folder {options.fetch}", code="fetched.no-answer")
    from bioclip_plugin.fetching.cache import check_description
    from bioclip_plugin.fetching.manifest import Manifest

    yield Fact("folder", str(options.fetch))
    try:
        check_description(options.fetch)
    except DataError as error:
        yield Problem(
            "fetched.unusable", str(error), "", "give the folder that was given to classify as --fetch, or a new one"
        )
        return
    until, records, failed = time.monotonic() + min(_READ_S, options.patience / 2), 0, 0
    damaged: list[Path] = []
    for path, record in itertools.islice(Manifest(options.fetch).records(), _MOST_RECORDS):
        records += 1
        if isinstance(record, DataError):
            damaged.append(path)
        else:
            failed += not record.is_fetched
        if time.monotonic() > until:
            break
    yield Fact("records_read", records)
    yield Fact("failed", failed)
    if damaged:
        yield Problem(
            "fetched.damaged",
            f"{number_of(len(damaged), 'record')} of {options.fetch} cannot be read; the first is {damaged[0].name}",
            "these addresses are fetched again",
            f"remove what is damaged: {command('fetch check', options.fetch, remove=True)}",
        )
