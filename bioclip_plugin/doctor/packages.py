"""Installed packages: versions, what is missing, old, installed twice, half installed, shadowed or broken."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import Distribution, distributions
from pathlib import Path

from bioclip_core.errors import one_line
from bioclip_core.process.imports import PACKAGES, explained_import
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.report import Fact, Finding, Problem, Step
from bioclip_plugin.doctor.requirements import DISTRIBUTION, Requirement, canonical, requirements

EXTRAS = {
    "postgres": "stores in PostgreSQL", "train": "reports and duplicates of training", "lora": "training with LoRA",
    "video": "videos", "raw": "RAW photographs", "heif": "HEIF photographs", "excel": "Excel workbooks",
    "tiff": "TIFF files in JPEG 2000 of more than 8 bits", "detector": "a detector in front of the model",
    "jpeg": "faster decoding of regions of large JPEGs", "openvino": "faster encoding on processors", "ray": "runs over several machines",
    "serve": "the HTTP API and the workbench", "search": "faster search in stored features",
    "curate": "curation of published collections",
}  # fmt: skip
"""Extras of this distribution with what each is for."""

_MODULES = {
    "torch": "torch", "open-clip-torch": "open_clip", "pillow": "PIL", "exifread": "exifread", "sqlalchemy": "sqlalchemy",
    "imagehash": "imagehash", "pyyaml": "yaml", "scikit-learn": "sklearn", "pillow-heif": "pillow_heif",
}  # fmt: skip
"""Modules of distributions that are named differently."""
HEAVY = frozenset(
    {
        "torch",
        "open-clip-torch",
        "peft",
        "speciesnet",
        "scikit-learn",
        "matplotlib",
        "imagehash",
        "webdataset",
        "openvino",
        "nncf",
        "ray",
    }
)
"""Distributions that import torch or take seconds; the check of computing imports torch and open_clip."""
_FIRST = ("numpy", "huggingface-hub")
"""Packages that come with ours, and that others need."""
_UNLISTED = ("torchvision", "numpy", "huggingface-hub", "timm", "tokenizers")
"""Packages that come with ours and whose versions a bug report needs."""
_OTHER_NUMPY = ("ABI", "_ARRAY_API", "binary incompatibility", "NumPy 1.x")
_INSTALL = "install it again: pip install --force-reinstall --no-deps"


def look(_options: DoctorOptions, without: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield the versions of all packages that bioclip-plugin needs, and import those that are light."""
    found = _installed()
    needed = requirements()
    if needed is None:
        yield Problem(
            "packages.not-installed",
            "the program runs from its source and is not installed",
            "plugins that need it, and its own requirements, cannot be checked",
            "install it: pip install .",
            grave=False,
        )
    versions = {DISTRIBUTION: _version(found.get(DISTRIBUTION))}
    extras: dict[str, list[str]] = defaultdict(list)
    for requirement in needed or ():
        version = _version(found.get(canonical(requirement.name)))
        if requirement.extra:
            extras[requirement.extra].append(f"{requirement.name} {version or 'is missing'}")
        else:
            versions[requirement.name] = version
        yield from _problems(requirement, version)
    versions |= {name: version for name in _UNLISTED if (version := _version(found.get(name)))}
    yield Fact("versions", versions)
    yield Fact(
        "extras", {name: f"{', '.join(held)}; for {EXTRAS.get(name, 'a plugin')}" for name, held in extras.items()}
    )
    yield from _doubled(found)
    yield from _half_installed()
    yield from _unreadable_entry_points().values()
    yield from _imported([*_FIRST, *(requirement.name for requirement in needed or ())], found, without)


def _unreadable_entry_points() -> dict[str, Problem]:
    """Return packages whose entry points cannot be read: whoever looks through those of all packages fails."""
    found: dict[str, Problem] = {}
    for distribution in distributions():
        try:
            tuple(distribution.entry_points)
        except Exception as error:
            place = Path(str(getattr(distribution, "_path", "an unknown place")))
            name = place.name.partition("-")[0].replace("_", "-") or "it"
            with suppress(Exception):
                name = distribution.metadata["Name"] or name
            found[name] = Problem(
                f"packages.entry-points.{canonical(name)}",
                f"the entry points of {name} in {place} cannot be read: {_why(error)}",
                "packages that look for plugins of their own in all others, such as alembic and torch, cannot be imported",
                f"{_INSTALL} {name}, or remove that folder",
            )
    return found


def _imported(names: list[str], found: dict[str, list[Distribution]], without: frozenset[str]) -> Iterator[Finding]:
    """Import the light packages, and yield what is wrong with each; one that is broken by another one is a note."""
    broken: dict[str, Problem] = {}
    for name in names:
        key = canonical(name)
        if not found.get(key) or key in HEAVY or key in without:
            continue
        yield Step(f"importing {name}", key, True, f"packages.crash.{key}")
        for one in imported(name, found[key][0]):
            if isinstance(one, Problem) and ".broken." in one.code:
                cause = next((cause for cause, first in broken.items() if _is_cause(cause, first, one)), None)
                broken[name] = one
                if cause is not None:
                    one = _because_of(name, one, cause)
            yield one


def _is_cause(name: str, first: Problem, other: Problem) -> bool:
    """Return True if a package cannot be imported because of one before it: it is named, or the error is the same."""
    words = set(re.findall(r"[\w-]+", other.found))
    return bool(words & {name, _module_of(name)}) or _has_same_error(first, other)


def _has_same_error(first: Problem, other: Problem) -> bool:
    why = other.found.partition(": ")[2]
    return bool(why) and first.found.endswith(f": {why}")


def _because_of(name: str, broken: Problem, cause: str) -> Problem:
    return Problem(broken.code, f"{name} cannot be imported", f"because of {cause}", grave=False)


def imported(name: str, distribution: Distribution | None = None) -> Iterator[Finding]:
    """Import a package and yield what is wrong with it: it cannot be imported, or another file has its name."""
    module_name = _module_of(name)
    try:
        module = import_module(module_name)
    except BaseException as error:
        broken = _broken(name, module_name, error)
        cause = next((other for other, one in _unreadable_entry_points().items() if _has_same_error(one, broken)), None)
        yield broken if cause is None else _because_of(name, broken, f"the entry points of {cause}")
        return
    place = getattr(module, "__file__", None)
    folder = str(distribution.locate_file("")) if distribution is not None else None
    if place and folder and not _is_below(Path(place), Path(folder)) and not _is_editable(distribution):
        yield Problem(
            f"packages.shadowed.{canonical(name)}",
            f"{name} is imported from {place}, not from its installation in {folder}",
            "a file or folder of the same name comes first, by PYTHONPATH or the working directory",
            "rename it, or unset PYTHONPATH",
        )


def _module_of(name: str) -> str:
    return _MODULES.get(canonical(name), canonical(name).replace("-", "_"))


def _broken(name: str, module_name: str, error: BaseException) -> Problem:
    code = f"packages.broken.{canonical(name)}"
    if module_name in PACKAGES and isinstance(error, Exception):
        found, _, advice = explained_import(error).partition("; ")
        return Problem(code, found, "no command that opens a model works", advice)
    why = _why(error)
    meaning, advice = "it is broken, or does not fit the other packages", f"{_INSTALL} {name}"
    if isinstance(error, ModuleNotFoundError) and error.name == module_name:
        meaning = "its files are gone, although pip lists it"
    elif re.search(r"DLL load failed|\.so|\.dylib", why):
        meaning, advice = "a library is missing or damaged", f"install the library that is named, or {name} again"
    elif "numpy" in why and any(sign in why for sign in _OTHER_NUMPY):
        meaning, advice = "it was built for another numpy", f"install both again: pip install --upgrade {name} numpy"
    return Problem(code, f"{name} cannot be imported: {why}", meaning, advice)


def _why(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {one_line(lines[0])}" if lines else type(error).__name__


def _problems(requirement: Requirement, version: str | None) -> Iterator[Problem]:
    name, bounds = requirement.name, requirement.bounds_text()
    if version is None and not requirement.extra:
        yield Problem(
            f"packages.missing.{canonical(name)}", f"{name} is not installed", "bioclip-plugin cannot work without it",
            f"install it: pip install '{name}{bounds}'",
        )  # fmt: skip
    elif version is not None and not requirement.is_met_by(version):
        extra = f"[{requirement.extra}]" if requirement.extra else ""
        yield Problem(
            f"packages.version.{canonical(name)}", f"{name} {version} is installed, and bioclip-plugin{extra} needs {bounds}",
            "it may fail at any time", f"install a version that fits: pip install '{name}{bounds}'",
        )  # fmt: skip


def _installed() -> dict[str, list[Distribution]]:
    """Return the distributions by name; of several the first one counts, as for an import."""
    found: dict[str, list[Distribution]] = defaultdict(list)
    for distribution in distributions():
        with suppress(Exception):  # metadata that cannot be read
            if name := distribution.metadata["Name"]:
                found[canonical(name)].append(distribution)
    return found


def _version(found: list[Distribution] | None) -> str | None:
    if not found:
        return None
    with suppress(Exception):
        return str(found[0].version)
    return None


def _doubled(found: dict[str, list[Distribution]]) -> Iterator[Problem]:
    """Yield packages whose upgrade was interrupted: two versions in one folder."""
    for name, several in found.items():
        folders: dict[str, set[str]] = defaultdict(set)
        for one in several:
            folders[str(one.locate_file(""))].add(str(one.version))
        for folder, versions in folders.items():
            if len(versions) > 1:
                yield Problem(
                    f"packages.doubled.{name}",
                    f"{name} is recorded as {' and as '.join(sorted(versions))} in {folder}",
                    "an upgrade was interrupted, or conda and pip installed it in turn; its files may be of both",
                    f"remove it until none is left, then install it: pip uninstall {name}",
                )


def _half_installed() -> Iterator[Problem]:
    """Yield folders that an interrupted pip leaves: their names begin with ~ in place of the first letter."""
    left: list[str] = []
    for folder in dict.fromkeys(sys.path):
        with suppress(OSError):
            left += [entry.path for entry in os.scandir(folder or ".") if re.match(r"~[A-Za-z0-9_]", entry.name)]
    if left:
        yield Problem(
            "packages.half-installed",
            f"{left[0]} was left by an interrupted pip ({len(left)} in all)",
            "the package of that name may be half installed",
            "remove these, and install the package again",
            grave=False,
        )


def _is_below(file: Path, folder: Path) -> bool:
    with suppress(OSError, ValueError):
        return file.resolve().is_relative_to(folder.resolve())
    return True


def _is_editable(distribution: Distribution | None) -> bool:
    with suppress(Exception):
        return '"editable": true' in ((distribution and distribution.read_text("direct_url.json")) or "").lower()
    return False
