"""Importing torch and what is built on it: an installation that cannot be imported is one line with what mends it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from bioclip_core.errors import InstallationError, first_line, raise_if_of_host
from bioclip_core.nouns import size_of
from bioclip_core.process.machine import address_space_limit
from bioclip_core.process.quiet import importing

PACKAGES = ("torch", "torchvision", "open_clip")
"""Packages that belong together, the first one imported first."""

_ADVICE = (
    (
        r"No module named '(?:torch|torchvision|open_clip)'",
        "install it into this environment ({python}): pip install torch torchvision open_clip_torch",
    ),
    (
        r"torchvision::\w+|undefined symbol",
        "torch {torch} and torchvision {torchvision} were not made for each other: install both with one command from one index",
    ),
    (
        r"lib(?:cu|nv|nccl|c10_cuda|torch_cuda)[\w-]*\.so",
        "this is the CUDA build of torch ({torch}), which needs NVIDIA's libraries even where no GPU is used: install torch "
        "again with all that it requires, or its build for CPUs",
    ),
    (
        r"(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+",
        "the C or C++ library of this system is older than this build of torch needs: on a cluster load a newer gcc module, "
        "with conda install libstdcxx-ng, or take an older torch",
    ),
    (
        r"WinError (?:126|127|182|1114)|DLL load failed",
        "install Microsoft's Visual C++ Redistributable for x64, start the computer again, and install torch again if that "
        "does not help",
    ),
    (
        r"failed to map segment|Operation not permitted|Permission denied",
        "the folder of this environment does not allow programs (noexec), or an antivirus program holds its files: make the "
        "environment elsewhere",
    ),
    (
        r"No space left|file too short|invalid ELF header|truncated",
        "a file of this environment is damaged, perhaps by a full disk during the installation: install torch and torchvision "
        "again with --force-reinstall --no-cache-dir",
    ),
)  # fmt: skip
"""Patterns in the text of an error, and what mends the installation."""
METADATA_ADVICE = "the metadata of another package cannot be read, which the command doctor names"
_OTHERWISE = "install torch and torchvision again with one command from one index"


@contextmanager
def importing_torch() -> Iterator[None]:
    """Import torch, torchvision or open_clip quietly.

    Raises:
        InstallationError: if one of them is missing or damaged, or they do not fit each other.
    """
    with importing():
        try:
            yield
        except Exception as error:  # torch raises ValueError for a library that it looks for by itself
            raise_if_of_host(error)
            raise InstallationError(explained_import(error)) from error


_NO_ROOM = r"failed to map segment(?!.*(?:not permitted|denied))|[Cc]annot allocate memory|paging file is too small"
"""Said of a library for which the address space of the process does not suffice."""


def explained_import(error: Exception) -> str:
    """Return one line for an error that came from importing torch or what is built on it."""
    said = first_line(error)
    limit = address_space_limit()
    if limit is not None and re.search(_NO_ROOM, said):
        return (
            f"{_failed_package(error)} cannot be imported: {said}; this process may use {size_of(limit)} of address space (ulimit -v), "
            "which is too little: a torch that is built for CUDA maps several GB of libraries. Raise the limit, or limit the "
            "memory by a cgroup (systemd-run, Slurm's --mem)"
        )
    advice = next((advice for pattern, advice in _ADVICE if re.search(pattern, said)), _OTHERWISE)
    if is_about_metadata(error):
        advice = METADATA_ADVICE
    found = {name: _version(name) for name in PACKAGES}
    failed = _failed_package(error)
    return f"{failed} cannot be imported: {said}; {advice.format(**found, python=sys.prefix)}"


def _failed_package(error: Exception) -> str:
    """Return the innermost of the packages that the error came through."""
    if isinstance(error, ImportError) and error.name in PACKAGES:
        return str(error.name)
    names = [module.partition(".")[0] for module, _ in _passed(error)]
    return next((name for name in reversed(names) if name in PACKAGES), PACKAGES[0])


def is_about_metadata(error: Exception) -> bool:
    """Return True if an error arose while entry points were looked through, and not while one was loaded."""
    passed = _passed(error)
    first = next((n for n, (module, _) in enumerate(passed) if module.startswith("importlib.metadata")), None)
    is_loading = ("importlib", "import_module") in passed[first:]
    return first is not None and not is_loading and not isinstance(error, PackageNotFoundError)


def _passed(error: Exception) -> list[tuple[str, str]]:
    """Return module and function of each frame that an error came through, the innermost one last."""
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append((str(trace.tb_frame.f_globals.get("__name__", "")), trace.tb_frame.f_code.co_name))
        trace = trace.tb_next
    return found


def _version(package: str) -> str:
    try:
        return version({"open_clip": "open_clip_torch"}.get(package, package))
    except PackageNotFoundError:
        return "(not installed)"
