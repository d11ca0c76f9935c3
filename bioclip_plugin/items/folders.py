"""Folders of images as their uris have them; without those that cameras make by themselves."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from bioclip_core.files.camera_folders import is_camera_folder, is_numbered

Folders = tuple[str, ...]
"""The names of a folder and of those above it, outermost first; an absolute path begins with ``/``."""

# A colon alone may be in the name of a folder, and one letter before it is a drive.
_SCHEME = re.compile(r"(file|memory):|([A-Za-z][A-Za-z0-9+.-]+):(?=//)")
_SHARD = re.compile(r"\.(?:tar|tar\.gz|tgz)$", re.IGNORECASE)
_ZIP = re.compile(r"\.zip$", re.IGNORECASE)


class FolderOf(NamedTuple):
    """The folder of one image."""

    parts: Folders
    is_local: bool
    """False for an address on the web, whose path says little about cameras."""


def card_names(parts: Folders) -> frozenset[str]:
    """Return the endings of those folders that a camera numbers; consecutive ones of a camera have the same.

    >>> card_names(("survey", "100MEDIA")), card_names(("DCIM", "101ek113"))
    (frozenset({'MEDIA'}), frozenset({'EK113'}))
    """
    return frozenset(part[3:].upper() for part in parts if is_numbered(part))


@lru_cache(maxsize=4096)
def without_camera_folders(parts: Folders) -> Folders:
    """Return the folders without those that a camera makes by itself, which begin anew after 9,999 images."""
    return tuple(part for part in parts if not is_camera_folder(part))


def folder_of(uri: str) -> FolderOf | None:
    """Return the folder of an image; None for an image in memory.

    A zip file is a folder. The shards of a data set are cut by size, so their folder is that of their members.
    """
    head, sign, member = uri.partition("#")
    if sign and _SHARD.search(head):
        uri = head[: _last_slash(head)] + member
    elif sign and _ZIP.search(head):
        uri = f"{head}/{member}"
    elif "://" in uri and not uri.startswith("file:"):
        uri = re.split("[?#]", uri)[0]
    return folder_of_text("memory:" if uri.startswith("memory:") else uri[: _last_slash(uri)])


def _last_slash(uri: str) -> int:
    return max(uri.rfind("/"), uri.rfind("\\")) + 1


@lru_cache(maxsize=4096)
def folder_of_text(folder: str) -> FolderOf | None:
    """Return the folder that the text of a uri up to its last slash names."""
    scheme = _SCHEME.match(folder)
    kind = (scheme[1] or scheme[2]).lower() if scheme else "file"
    if kind == "memory":
        return None
    parts: list[str] = []
    if scheme:
        folder = folder[scheme.end() :]
        host, _, rest = folder.removeprefix("//").partition("/") if folder.startswith("//") else ("", "", folder)
        parts = ["/"] if kind == "file" else [f"{kind}://{host}"]
        folder = unquote(rest)
    elif folder[:1] in ("/", "\\"):
        parts = ["/"]
    for part in re.split(r"[/\\]+", folder):
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return FolderOf(tuple(parts), kind == "file")


@lru_cache(maxsize=4096)
def shown(parts: Folders) -> str:
    """Return a folder as a path with slashes."""
    return "/" + "/".join(parts[1:]) if parts[:1] == ("/",) else "/".join(parts)


def common(folders: Iterable[Folders]) -> Folders:
    """Return the deepest folder that holds all of them."""
    found: Folders | None = None
    for parts in folders:
        found = parts if found is None else shared_beginning(found, parts)
    return found or ()


def shared_beginning(one: Folders, other: Folders) -> Folders:
    """Return the names with which both begin."""
    count = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:count]


def below(parts: Folders, base: Folders) -> Folders | None:
    """Return the folders below a base; None outside it."""
    return parts[len(base) :] if parts[: len(base)] == base else None


def comparable(name: str) -> str:
    """Return a name as names are compared: without case, Unicode form and white space around it.

    >>> comparable(" E\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT} ") == comparable("été")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def name_parts(name: str) -> Sequence[str]:
    """Return the folders that a name in a table means, as names are compared: ``north/cam 1`` is two."""
    return [comparable(part) for part in re.split(r"[/\\]+", name.strip()) if part.strip() not in ("", ".")]
