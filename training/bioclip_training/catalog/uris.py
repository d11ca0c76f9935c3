"""Addresses of images in a catalog: from files to uris relative to its folder, and back."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from bioclip_core.files.drives import name_of_bytes, relative
from bioclip_core.files.present import exists

# The escapes of a listed uri: bytes that are not UTF-8, and percent signs that would look like one.
_LOOKS_ESCAPED = re.compile(r"%(?=25|[89A-Fa-f][0-9A-Fa-f])")


def file_of(uri: str, folder: Path) -> Path:
    """Return the file of a catalog's uri: with its escapes undone if that file exists, else as written.

    Args:
        uri: as in the catalog.
        folder: the catalog's, which a relative uri is relative to.
    """
    plain = folder / uri
    if _LOOKS_ESCAPED.search(uri):
        unescaped = folder / name_of_bytes(unquote_to_bytes(uri))
        if exists(unescaped) or not exists(plain):
            return unescaped
    return plain


class RelativeUris:
    """Addresses of files relative to one folder, with ``/`` between names; absolute only if a relative one is impossible."""

    def __init__(self, folder: Path) -> None:
        # Links are followed on both sides, since ".." behind a link leads to where the link points.
        self._folder = os.path.realpath(folder)
        self._relative: dict[Path, str] = {}

    def of(self, file: Path) -> str:
        """Return the uri of a file, with the escapes of every listed uri."""
        parent = file.parent
        if parent not in self._relative:
            real = os.path.realpath(parent)
            self._relative[parent] = relative(real, self._folder) or real
        return escaped((Path(self._relative[parent]) / file.name).as_posix())


def escaped(name: str) -> str:
    """Return a file's name as a uri: bytes that are not UTF-8, and percent signs that look like such an escape, are escaped."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return quote_from_bytes(os.fsencode(name), safe="/ !#$&'()*+,:;=?@[]\\")
    return _LOOKS_ESCAPED.sub("%25", name)
