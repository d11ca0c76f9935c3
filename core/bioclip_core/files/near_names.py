"""Existing files whose name nearly is the one given: in another Unicode form, letter case, kind of slash, or with other blanks."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from bioclip_core.cells import latin_1
from bioclip_core.files.replacing import long_path_hint
from bioclip_core.process import system

_MOST_NAMES = 200_000  # names of one folder that are compared; in a larger one nothing is proposed
_MOST_FOUND = 2
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))


def same_name(path: str) -> str | None:
    """Return the existing file that a name means beyond doubt; None if there is none.

    These are the same name: backslashes between folders, another Unicode form (composed or decomposed), bytes in Latin-1 for
    a name that is UTF-8 on the disk, and blanks around the whole name.
    """
    texts = dict.fromkeys((path, latin_1(path)))
    texts.update(dict.fromkeys(_stripped(text) for text in list(texts)))
    texts.update(dict.fromkeys(text.replace("\\", "/") for text in list(texts)))
    for text in filter(None, texts):
        found = text if os.path.lexists(text) else _in_another_form(text)
        if found and found != path:
            return found
    return None


def _in_another_form(name: str) -> str | None:
    """Return the existing file of a name in another Unicode form.

    Each part has a form of its own: macOS decomposes the names of its files, and not those of the folder that they are copied to.
    """
    if name.isascii():
        return None
    found = ""
    for number, part in enumerate(name.split("/")):
        start = f"{found}/" if number else ""
        forms = dict.fromkeys((part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))))
        at = next((start + form for form in forms if len(forms) == 1 or os.path.lexists(start + form)), None)
        if at is None:
            return None
        found = at
    return found if os.path.lexists(found) else None


def near_hint(path: str | os.PathLike[str]) -> str:
    """Return the end of a message about a missing file: the existing file with nearly this name; empty if there is none.

    >>> near_hint("/no such folder/x.jpg")
    ''
    """
    if system.is_windows() and '"' in os.fspath(path):  # the C library takes \" for a mark in the name
        return "; its quotation mark comes from a backslash before the closing one: leave that backslash out"
    found = near_names(path)
    if not found:
        return long_path_hint(path)
    missing = os.fspath(path)
    if len(found) > 1:
        return f"; {' and '.join(repr(name) for name in found)} exist, whose names differ only in {_difference(missing, found[0])}"
    return f"; {found[0]!r} exists, whose name differs only in {_difference(missing, found[0])}: correct the name, or rename the file"


def near_names(path: str | os.PathLike[str]) -> list[str]:
    """Return existing files whose whole path equals one that does not exist, but for case, Unicode form, slashes and blanks.

    At most two; with two, the name is ambiguous.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        return []
    drive, absolute = os.path.splitdrive(text)[0], text.startswith(("/", "\\"))
    found = [drive + os.sep if absolute else drive]
    for part in text[len(drive) :].replace("\\", "/").split("/"):
        if part not in ("", os.curdir):
            found = [name for folder in found for name in _within(folder, part)][:_MOST_FOUND]
    return [name for name in found if name != text and name]


def _within(folder: str, part: str) -> list[str]:
    exact = os.path.join(folder, part)  # noqa: PTH118 - names may hold any bytes
    if part == os.pardir or os.path.lexists(exact):
        return [exact]
    try:
        changed = os.stat(folder or os.curdir).st_mtime_ns  # noqa: PTH116
        names = _folded_names(folder or os.curdir, changed).get(folded(part), ())
    except (OSError, ValueError):
        return []
    return [os.path.join(folder, name) for name in names]  # noqa: PTH118


@lru_cache(maxsize=32)
def _folded_names(folder: str, _changed: int) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= _MOST_NAMES:
                return {}
            key = folded(entry.name)
            found[key] = tuple(sorted((*found.get(key, ()), entry.name)))
    return found


def folded(name: str) -> str:
    """Return a name without letter case, blanks and invisible characters, in one Unicode form."""
    text = unicodedata.normalize("NFKC", latin_1(name)).casefold().translate(_INVISIBLE)
    return unicodedata.normalize("NFKC", "".join(text.split()))


def _stripped(text: str) -> str:
    return text.strip().strip("".join(map(chr, _INVISIBLE))).strip()


def _difference(missing: str, found: str) -> str:
    """Return how two names differ, in words."""
    one, other = (unicodedata.normalize("NFC", latin_1(name).replace("\\", "/")) for name in (missing, found))
    kinds = []
    if one == other:
        return "its Unicode form" if latin_1(missing).replace("\\", "/") != found else "its slashes"
    if one.casefold() != other.casefold():
        kinds.append("blanks")
    if "".join(one.split()) != "".join(other.split()):
        kinds.append("letter case")
    return " and ".join(kinds) or "its characters"
