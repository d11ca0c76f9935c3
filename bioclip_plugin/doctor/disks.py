"""Disks: free space, rights and file systems of the folders that are written, and what killed programs left in them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bioclip_core.files.leftovers import left_behind
from bioclip_core.identity import user_cache
from bioclip_core.nouns import number_of, size_of
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.report import Fact, Finding, Problem, Step

LEAST_FREE = 256 << 20
"""Bytes below which work fails soon."""


def look(options: DoctorOptions, without: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield free space and rights of each folder that is written."""
    if "home" not in without:
        yield Step("finding the home folder", "home")
        yield from _home()
    for name, folder, is_needed in _folders(options):
        if name in without:
            continue
        yield Step(f"looking at the {name} folder {folder or ''}".rstrip(), name, code=f"disks.no-answer.{name}")
        if folder is None:
            yield Problem(
                "disks.no-temporary-folder",
                "there is no folder for temporary files that can be written",
                "archives and videos cannot be unpacked",
                "make one, and name it in the variable TMPDIR",
            )
            continue
        yield from _folder(name, folder, is_needed)


def _folders(options: DoctorOptions) -> Iterator[tuple[str, Path | None, bool]]:
    """Yield name and place of each folder, and True if it must be writable."""
    yield "working", Path(), False
    yield "cache", user_cache(), True
    yield "hub", hub_cache(), False
    try:
        yield "temporary", Path(tempfile.gettempdir()), True
    except OSError:
        yield "temporary", None, True
    if options.fetch is not None:
        yield "fetched", options.fetch, True
    if options.store and "://" not in options.store:
        with suppress(RuntimeError):  # ~ of a user who does not exist
            yield "store", Path(options.store).expanduser().parent, False


def hub_cache() -> Path:
    """Return the folder of the hub's client, found as the client does, which may be broken."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")  # noqa: PTH118
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(os.path.expanduser(given or os.path.join(home, "hub"))))  # noqa: PTH111, PTH118


_VARIABLES = {"cache": "BIOCLIP_CACHE", "hub": "HF_HOME", "temporary": "TMPDIR"}
"""The variable that names a folder, where there is one."""


def _temporary_is_another() -> Iterator[Problem]:
    """Yield a note on a variable that names a folder which cannot be used: Python takes another one without a word."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        if wanted := os.environ.get(name):
            used = tempfile.gettempdir()
            if os.path.abspath(wanted) != used and os.path.realpath(wanted) != os.path.realpath(used):  # noqa: PTH100
                yield Problem(
                    "disks.other-temporary-folder", f"{name} names {wanted}, but {used} is used for temporary files",
                    "the named folder is missing, full or cannot be written", "make room in it, or make it", grave=False,
                )  # fmt: skip
            return


def _home() -> Iterator[Finding]:
    try:
        home = Path.home()
    except RuntimeError:
        yield Problem(
            "disks.no-home",
            "this user has no home folder",
            "the cache is in the temporary folder, and models of the hub are not found again",
            "set HOME, or BIOCLIP_CACHE and HF_HOME, to folders that can be written",
            grave=False,
        )
        return
    yield Fact("home_folder", str(home))


def _folder(name: str, folder: Path, is_needed: bool) -> Iterator[Finding]:
    try:
        place = folder.absolute()
    except OSError:  # the working directory was removed
        yield Problem(
            "disks.no-working-folder",
            "the working directory is gone",
            "relative paths lead nowhere",
            "go to another one",
        )
        return
    there = next((one for one in (place, *place.parents) if _exists(one)), None)
    facts: dict[str, object] = {"folder": str(place), "exists": there == place}
    if there is None:
        yield Fact(name, facts)
        yield Problem(
            f"disks.unreadable.{name}", f"the {name} folder {place} cannot be looked at", "", "check the rights on it"
        )
        return
    if not there.is_dir():
        yield Problem(f"disks.not-a-folder.{name}", f"{there} is a file, and the {name} folder cannot be made in it", "",
                      "remove the file, or choose another folder")  # fmt: skip
        return
    usage = shutil.disk_usage(there)
    if not usage.total and there != place:  # as of /proc: nothing can be made there, whatever the rights say
        yield Fact(name, facts)
        yield Problem(
            f"disks.no-disk.{name}", f"the {name} folder {place} cannot be made: {there} is not on a disk", "",
            f"set HOME, or {_VARIABLES.get(name, 'the option')}, to a folder that can be written", grave=is_needed,
        )  # fmt: skip
        return
    facts["free_bytes"] = usage.free
    facts["writable"] = os.access(there, os.W_OK)
    yield Fact(name, facts)
    yield from _room(name, place, there)
    if is_needed and not facts["writable"]:
        yield _unwritable(name, place)
    if not os.access(there, os.R_OK | os.X_OK):
        yield Problem(f"disks.unreadable.{name}", f"the {name} folder {there} cannot be read", "what is in it is not found",
                      "give yourself the right to read it, or choose another folder")  # fmt: skip
        return
    if facts["exists"]:
        yield from _leftovers(name, place)
    if name == "temporary":
        yield from _temporary_is_another()
        yield from _try_to_write(place) if facts["writable"] else ()


def _room(name: str, place: Path, there: Path) -> Iterator[Problem]:
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE:
        yield Problem(
            f"disks.full.{name}",
            f"the disk of the {name} folder {place} has {size_of(free)} left",
            "work that writes there fails soon",
            {
                "temporary": "free some room, or name a folder on another disk in the variable TMPDIR",
                "cache": "free some room, or name a folder on another disk in the variable BIOCLIP_CACHE",
                "hub": "free some room, or name a folder on another disk in the variable HF_HOME",
            }.get(name, "free some room"),
            grave=name != "hub",
        )
    with suppress(AttributeError, OSError):  # Windows has no such call
        stat = os.statvfs(there)
        if stat.f_files and not stat.f_favail:
            yield Problem(
                f"disks.no-more-files.{name}",
                f"the disk of the {name} folder {place} cannot hold another file, although it has {size_of(free)} left",
                "work that makes files there fails",
                "remove files that are not needed",
            )


def _unwritable(name: str, place: Path) -> Problem:
    if name == "fetched":
        return Problem("disks.unwritable.fetched", f"the folder {place} of fetched images cannot be written",
                       "images that are not in it cannot be fetched", "give yourself the right to write there")  # fmt: skip
    variable = "TMPDIR" if name == "temporary" else "BIOCLIP_CACHE"
    return Problem(
        f"disks.unwritable.{name}",
        f"the {name} folder {place} cannot be written",
        "archives and videos cannot be unpacked"
        if name == "temporary"
        else "hashes and label sets are computed again each time",
        f"give yourself the right to write there, or name another folder in the variable {variable}",
        grave=name == "temporary",
    )


def _try_to_write(place: Path) -> Iterator[Problem]:
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield Problem(
            "disks.no-temporary-file",
            f"a temporary file cannot be written to {place}: {error.strerror or error}",
            "archives and videos cannot be unpacked",
            "free some room there, or name another folder in the variable TMPDIR",
        )


def _leftovers(name: str, place: Path) -> Iterator[Finding]:
    with suppress(OSError):
        left = left_behind(place)
        if left:
            size = sum(map(_size, left))
            yield Problem(
                f"disks.leftovers.{name}",
                f"killed programs left {number_of(len(left), 'temporary file or folder', 'temporary files or folders')} in "
                f"the {name} folder {place}, {size_of(size)}; the first is {left[0].name}",
                "they are not needed",
                "the next command that works there removes them, and they may be removed by hand",
                grave=False,
            )


def _size(path: Path) -> int:
    total = 0
    for one in [path, *(path.rglob("*") if path.is_dir() else ())]:
        with suppress(OSError):
            total += 0 if one.is_dir() else one.lstat().st_size
    return total


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
