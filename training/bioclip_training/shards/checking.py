"""Whether a folder of shards is what its manifest says: every damage as one line."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.taxonomy import RANKS
from bioclip_training.batches.regions import EncodedRegion
from bioclip_training.catalog.rows import Catalog
from bioclip_training.shards.manifest import INDEX_FILE, UNFINISHED_FOLDER, Manifest, Shard

_IMAGES = (".jpg", ".png")
_NAMED = 5  # members listed by name for one kind of damage in a shard; the others are counted


@dataclass(frozen=True, slots=True)
class Problem:
    """One damage, in a file of the folder."""

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"


def check_shards(
    folder: Path, *, decode: bool = False, workers: int = 0, progress: Callable[[Shard], None] | None = None
) -> list[Problem]:
    """Read every shard whole, and compare it with the manifest and the index.

    Args:
        decode: also decode every image.
        progress: called after each shard.

    Raises:
        SourceError: if the folder holds no shards, or they are not finished.
    """
    manifest = Manifest.read(folder)
    problems, index = _check_index(folder, manifest)
    problems += _check_listing(folder, manifest)
    members = _members_of_shards(index) if index is not None else None
    there = [shard for shard in manifest.shards if (folder / shard.file).is_file()]
    pool = ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1), thread_name_prefix="bioclip-check")

    def check(shard: Shard) -> list[Problem]:
        listed = members.get(shard.file, {}) if members is not None else None
        return [Problem(shard.file, text) for text in _check_shard(folder / shard.file, shard, listed, decode)]

    try:
        for shard, found in zip(there, pool.map(check, there), strict=True):
            problems += found
            if progress:
                progress(shard)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return problems


def _check_index(folder: Path, manifest: Manifest) -> tuple[list[Problem], Catalog | None]:
    file = folder / INDEX_FILE
    if not file.is_file():
        return [Problem(INDEX_FILE, "it is missing, and without it no sample is found")], None
    problems = []
    if _sha256(file) != manifest.index_sha256:
        problems.append(Problem(INDEX_FILE, "its bytes are not those that the manifest names (sha256)"))
    try:
        catalog = Catalog.open(file)
        catalog.table.select(["shard", "member", "offset", "bytes"])
    except (SourceError, KeyError) as error:
        return [*problems, Problem(INDEX_FILE, f"it cannot be read: {error}")], None
    if len(catalog) != manifest.samples:
        problems.append(Problem(INDEX_FILE, f"it has {len(catalog)} samples, and the manifest {manifest.samples}"))
    return problems, catalog


def _check_listing(folder: Path, manifest: Manifest) -> list[Problem]:
    """Shards that are missing, and files that belong to nobody."""
    named = {shard.file for shard in manifest.shards}
    there = {file.name for file in folder.iterdir() if ".tar" in file.suffixes}
    problems = [Problem(name, "it is missing") for name in sorted(named - there)]
    problems += [Problem(name, "it is not in the manifest") for name in sorted(there - named)]
    if (folder / UNFINISHED_FOLDER).is_dir():
        problems.append(Problem(UNFINISHED_FOLDER, "a writing began here and did not finish"))
    return problems


def _members_of_shards(index: Catalog) -> dict[str, dict[str, tuple[int, int]]]:
    """For each shard its images by name: offset and size as the index has them."""
    members: dict[str, dict[str, tuple[int, int]]] = {}
    columns = (index.table.column(name).to_pylist() for name in ("shard", "member", "offset", "bytes"))
    for shard, member, offset, size in zip(*columns, strict=True):
        members.setdefault(shard, {})[member] = (offset, size)
    return members


def _check_shard(file: Path, shard: Shard, listed: dict[str, tuple[int, int]] | None, decode: bool) -> Iterator[str]:
    size = file.stat().st_size
    if size != shard.bytes:
        cut = "truncated: " if size < shard.bytes else ""
        yield f"{cut}it has {size:,} bytes, and the manifest says {shard.bytes:,}"
    elif _sha256(file) != shard.sha256:
        yield "damaged: its bytes are not those that the manifest names (sha256)"
    images: dict[str, tuple[int, int]] = {}
    texts: set[str] = set()
    bad: list[tuple[str, str]] = []
    try:
        for name, place, data in _members(file):
            stem, extension = os.path.splitext(name)  # noqa: PTH122 - the name of a member, no path
            if extension in _IMAGES:
                images[name] = place
                reason = _image_damage(data) if decode else ""
            else:
                texts.add(stem)
                reason = _json_damage(data, shard.split)
            if reason:
                bad.append((name, reason))
    except (tarfile.TarError, EOFError, OSError) as error:
        yield f"its members cannot be read any further after {len(images)} images: {error}"
    yield from _counted([f"{name}: {reason}" for name, reason in bad])
    yield from _compared(images, texts, shard, listed)


def _compared(
    images: dict[str, tuple[int, int]], texts: set[str], shard: Shard, listed: dict[str, tuple[int, int]] | None
) -> Iterator[str]:
    """What the members lack of each other, of the manifest's count and of the index."""
    stems = Counter(name.rpartition(".")[0] for name in images)
    yield from _counted([f"{stem}: its image has no JSON member" for stem in sorted(set(stems) - texts)])
    yield from _counted([f"{stem}: its JSON member has no image" for stem in sorted(texts - set(stems))])
    if len(images) != shard.samples:
        yield f"it has {len(images)} images, and the manifest says {shard.samples}"
    if listed is None:
        return
    yield from _counted(
        [f"{name}: the index has it and the tar does not" for name in sorted(set(listed) - set(images))]
    )
    moved = [name for name in sorted(set(listed) & set(images)) if listed[name] != images[name]]
    yield from _counted([f"{name}: it lies elsewhere than the index says" for name in moved])


def _members(file: Path) -> Iterator[tuple[str, tuple[int, int], bytes]]:
    """Name, place (offset and size) and bytes of every member."""
    with tarfile.open(file, "r:") as tar:
        for about in tar:
            stream = tar.extractfile(about)
            data = stream.read() if stream else b""
            if len(data) < about.size:
                raise tarfile.ReadError(f"member {about.name} is cut off")
            yield about.name, (about.offset_data, about.size), data


def _image_damage(data: bytes) -> str:
    try:
        EncodedRegion(data).pixels()
    except ImageError as error:
        return str(error)
    return ""


def _json_damage(data: bytes, split: str) -> str:
    try:
        cells: Any = json.loads(data.decode())
    except ValueError as error:
        return f"no JSON: {error}"
    missing = [rank.value for rank in RANKS if not isinstance(cells, dict) or rank.value not in cells]
    if missing:
        return f"it lacks {', '.join(missing)}"
    return "" if cells.get("split") == split else f"its split is {cells.get('split')!r}, and the shard's {split!r}"


def _sha256(file: Path) -> str:
    """Of the bytes as they are now: what is remembered of a file knows nothing of a disk that goes bad."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _counted(lines: list[str]) -> Iterator[str]:
    """The first few lines; how many there are more."""
    yield from lines[:_NAMED]
    if len(lines) > _NAMED:
        yield f"and {len(lines) - _NAMED} more like the last"
