"""Check of a folder of shards against its manifest and index: one line per damage."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import DataError, ImageError, SourceError
from bioclip_core.files.documents import parse_document
from bioclip_core.identity import sha256_of
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.nouns import number_of
from bioclip_core.progress import silent
from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.ahead import in_order, threads_for
from bioclip_training.catalog.rows import Catalog
from bioclip_training.shards.manifest import INDEX_FILE, UNFINISHED_FOLDER, Manifest, Shard

_IMAGES = (".jpg", ".png")
_NAMED = 5  # members that are named for one kind of damage in a shard; the others are counted

_Places = dict[str, tuple[int, int]]
"""Offset and size of each image of a shard, by name."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One damage in a file of the folder."""

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"


def check_shards(
    folder: Path, *, decode: bool = False, workers: int = 0, progress: Callable[[Shard], None] = silent
) -> list[Problem]:
    """Read every shard whole, and compare it with the manifest and the index.

    Args:
        decode: also decode every image.
        workers: number of threads; 0 is one per core, at most 16.
        progress: called after each shard.

    Raises:
        SourceError: if the folder holds no shards, or they are not finished.
    """
    manifest = Manifest.read(folder)
    problems, places = _check_index(folder, manifest)
    problems += _check_listing(folder, manifest)

    def check(shard: Shard) -> tuple[Shard, list[str]]:
        listed = None if places is None else places.get(shard.file, {})
        return shard, list(_check_shard(folder / shard.file, shard, listed, decode))

    present = [shard for shard in manifest.shards if (folder / shard.file).is_file()]
    for shard, found in in_order(check, present, threads_for(workers), len(present), name="bioclip-check"):
        problems += [Problem(shard.file, text) for text in found]
        progress(shard)
    return problems


def _check_index(folder: Path, manifest: Manifest) -> tuple[list[Problem], dict[str, _Places] | None]:
    """Return the damages of the index, and the places of the images of each shard according to it."""
    file = folder / INDEX_FILE
    if not file.is_file():
        return [Problem(INDEX_FILE, "it is missing, and without it no sample is found")], None
    texts = []
    if sha256_of(file) != manifest.index_sha256:
        texts.append("its sha256 is not the one in the manifest")
    places: dict[str, _Places] = {}
    try:
        catalog = Catalog.open(file)
        columns = (catalog.table.column(name).to_pylist() for name in ("shard", "member", "offset", "bytes"))
        for shard, member, offset, size in zip(*columns, strict=True):
            places.setdefault(shard, {})[member] = (offset, size)
        if len(catalog) != manifest.samples:
            texts.append(f"it has {number_of(len(catalog), 'sample')}, and the manifest {manifest.samples}")
    except (SourceError, KeyError) as error:
        return [Problem(INDEX_FILE, text) for text in (*texts, f"it cannot be read: {error}")], None
    return [Problem(INDEX_FILE, text) for text in texts], places


def _check_listing(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Yield missing shards, and files that are not in the manifest."""
    named = {shard.file for shard in manifest.shards}
    present = {file.name for file in folder.iterdir() if ".tar" in file.suffixes}
    yield from (Problem(name, "it is missing") for name in sorted(named - present))
    yield from (Problem(name, "it is not in the manifest") for name in sorted(present - named))
    if (folder / UNFINISHED_FOLDER).is_dir():
        yield Problem(UNFINISHED_FOLDER, "shards were begun here and not finished")


def _check_shard(file: Path, shard: Shard, listed: _Places | None, decode: bool) -> Iterator[str]:
    if (size := file.stat().st_size) != shard.bytes:
        cut = "truncated: " if size < shard.bytes else ""
        yield f"{cut}it has {size:,} bytes, and the manifest says {shard.bytes:,}"
    elif sha256_of(file) != shard.sha256:
        yield "damaged: its sha256 is not the one in the manifest"
    images: _Places = {}
    texts: set[str] = set()
    bad: list[str] = []
    try:
        for name, place, data in _members(file):
            stem, extension = os.path.splitext(name)  # noqa: PTH122 - the name of a member, not a path
            if extension in _IMAGES:
                images[name] = place
                reason = _image_damage(data) if decode else ""
            else:
                texts.add(stem)
                reason = _json_damage(data, shard.split)
            if reason:
                bad.append(f"{name}: {reason}")
    except (tarfile.TarError, EOFError, OSError) as error:
        yield f"its members cannot be read any further after {number_of(len(images), 'image')}: {error}"
    yield from _shortened(bad)
    yield from _compared(images, texts, shard, listed)


def _compared(images: _Places, texts: set[str], shard: Shard, listed: _Places | None) -> Iterator[str]:
    """Yield the differences between image members, JSON members, the manifest's count and the index."""
    stems = {name.rpartition(".")[0] for name in images}
    yield from _shortened([f"{stem}: its image lacks a JSON member" for stem in sorted(stems - texts)])
    yield from _shortened([f"{stem}: its JSON member lacks an image" for stem in sorted(texts - stems)])
    if len(images) != shard.samples:
        yield f"it has {number_of(len(images), 'image')}, and the manifest says {shard.samples}"
    if listed is not None:
        missing, both = sorted(listed.keys() - images.keys()), sorted(listed.keys() & images.keys())
        yield from _shortened([f"{name}: the index has it and the tar does not" for name in missing])
        moved = [
            f"{name}: its place in the tar is not the one in the index" for name in both if listed[name] != images[name]
        ]
        yield from _shortened(moved)


def _members(file: Path) -> Iterator[tuple[str, tuple[int, int], bytes]]:
    """Yield name, place (offset and size) and bytes of every member."""
    with tarfile.open(file, "r:") as tar:
        for member in tar:
            stream = tar.extractfile(member)
            data = stream.read() if stream else b""
            if len(data) < member.size:
                raise tarfile.ReadError(f"member {member.name} is cut off")
            yield member.name, (member.offset_data, member.size), data


def _image_damage(data: bytes) -> str:
    try:
        EncodedRegion(data).pixels()
    except ImageError as error:
        return str(error)
    return ""


def _json_damage(data: bytes, split: str) -> str:
    try:
        cells = parse_document(data, dict[str, Any], name="it")
    except DataError as error:
        return str(error)
    missing = [rank.value for rank in RANKS if rank.value not in cells]
    if missing:
        return f"it lacks {', '.join(missing)}"
    return "" if cells.get("split") == split else f"its split is {cells.get('split')!r}, and the shard's {split!r}"


def _shortened(lines: list[str]) -> list[str]:
    """Return the first few lines and the number of further ones."""
    more = [f"and {len(lines) - _NAMED} more like the last"] if len(lines) > _NAMED else []
    return [*lines[:_NAMED], *more]
