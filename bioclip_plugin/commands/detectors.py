"""Detectors as ``models list``, ``models info`` and ``models fetch`` show and fetch them."""

from __future__ import annotations

from collections.abc import Iterator

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.next_commands import command
from bioclip_plugin.contracts.detector import DescribedDetector, Detector, FetchingDetector, OptionalDetector
from bioclip_plugin.contracts.manager import BioclipPluginManager

COLUMNS = ("detector", "on this machine", "version", "licence", "description")


def detector_named(plugins: BioclipPluginManager, given: str) -> Detector | None:
    """Return the detector that a name means, also with weights behind a colon; None for any other name."""
    is_one = given not in plugins.models() and given.partition(":")[0] in plugins.detectors()
    return plugins.detector(given) if is_one else None


def detector_rows(plugins: BioclipPluginManager) -> list[tuple[str, ...]]:
    """Return a row for each detector."""
    return [
        (detector.name, _availability(detector), detector.version, *_texts(detector))
        for detector in plugins.detectors().values()
    ]


def detector_facts(detector: Detector, given: str) -> Iterator[str]:
    """Yield a line for each fact about a detector; the last ones are its identity, or why it cannot be used."""
    licence, description = _texts(detector)
    yield f"description: {description}"
    yield f"licence: {licence}"
    yield f"version: {detector.version}"
    yield f"input: images whose longer side is {detector.side:,} pixels"
    try:
        yield from (f"{name.replace('_', ' ')}: {value}" for name, value in detector.identity().items())
    except BioclipError as error:
        yield f"Not ready: {error}"
    else:
        yield f"Ready for: {command('classify', 'PATHS', detector=given)}"


def fetched_detector(detector: Detector, given: str) -> Iterator[str]:
    """Fetch the weights of a detector; yield lines on them.

    Raises:
        BioclipError: if it has nothing that can be fetched, or that fails.
    """
    if not isinstance(detector, FetchingDetector):
        raise UsageError(f"the detector {given} has nothing to fetch")
    yield f"{given}: {detector.fetch()}"


def _texts(detector: Detector) -> tuple[str, str]:
    """Return a detector's licence and description."""
    if not isinstance(detector, DescribedDetector):
        return "not stated", "not stated"
    return detector.licence or "not stated", detector.description or "not stated"


def _availability(detector: Detector) -> str:
    if isinstance(detector, OptionalDetector) and (needs := detector.missing()):
        return f"needs {needs}"
    try:
        detector.identity()
    except BioclipError:
        return "not fetched" if isinstance(detector, FetchingDetector) else "not ready"
    return "here"
