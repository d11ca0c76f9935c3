"""Name and version of a checklist from its own metadata: ColDP's ``metadata.yaml`` or Darwin Core's ``eml.xml``."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bioclip_core.files.archives import archive_kind, open_archive
from bioclip_core.files.present import is_file, is_folder

_LIMIT = 2_000_000  # bytes; the Catalogue of Life's metadata names thousands of sources after its own title


@dataclass(frozen=True, slots=True)
class Described:
    """Name and version that a source gives itself; empty if it does not."""

    checklist: str = ""
    version: str = ""


def described(path: Path) -> Described:
    """Read the metadata in a folder or zip, or beside a file of GBIF or ColDP."""
    texts = _metadata_files(path)
    if text := texts.get("metadata.yaml") or texts.get("metadata.yml"):
        top = {
            match[1].lower(): match[2].strip().strip("'\"")
            for match in re.finditer(r"^(\w+):[ \t]*(\S.*)$", text, re.M)
        }
        return Described(top.get("alias") or top.get("title", ""), top.get("version") or top.get("issued", ""))
    if text := texts.get("eml.xml") or texts.get("metadata.xml"):
        # Each pattern ends at the next "<", so that a hostile text takes no longer than another one.
        title = re.search(r"<title[^<>]*>([^<]*)</title>", text)
        date = re.search(r"<pubDate>([^<]*)</pubDate>", text)
        return Described(html.unescape(title[1]).strip() if title else "", date[1].strip() if date else "")
    return Described()


def _metadata_files(path: Path) -> dict[str, str]:
    """Return the texts of the metadata files by their names."""
    wanted = ("metadata.yaml", "metadata.yml", "eml.xml", "metadata.xml")
    if not is_folder(path) and archive_kind(path):
        with open_archive(path) as archive:
            names = {PurePosixPath(name).name.lower(): name for name in reversed(list(archive.members))}
            return {
                known: archive.open(names[known]).read(_LIMIT).decode("utf-8-sig", "replace")
                for known in wanted
                if known in names
            }
    folder = path if is_folder(path) else path.parent
    if not is_folder(path) and path.stem.lower() not in ("taxon", "nameusage"):
        return {}
    return {
        known: _beginning(folder / known).decode("utf-8-sig", "replace") for known in wanted if is_file(folder / known)
    }


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LIMIT)
