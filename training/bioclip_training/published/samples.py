"""Samples of a WebDataset tar: the members that share a key, with the places of images and the content of texts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from bioclip_core.errors import SourceError
from bioclip_core.files.regular import open_regular
from bioclip_core.files.tar_members import BLOCK, COMPRESSED, LostBytes, Member, is_header, members_in_place
from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_training.catalog.uris import escaped

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".jp2", ".avif", ".heic")
)
_TEXT_SUFFIXES = frozenset((".txt", ".json", ".text", ".caption", ".cls"))
_MOST_TEXT_BYTES = 1 << 20  # a larger one is not the description of an image
_OPEN_SAMPLES = 16_384
"""Samples that wait for further members, in case the members of a tar are not in order."""

Place = tuple[int, int]
"""Offset and size of a member's bytes in the tar."""

TRUNCATED = "shards are truncated: the samples before that are read"
NO_END = "shards lack the end mark of a tar: they may be truncated between two members"
DAMAGED = "shards are damaged inside: the samples around that are read"
OUT_OF_ORDER = "samples have members that do not lie together; they are joined by their key"
SEVERAL_IMAGES = "samples have several images; each is an item with the texts of the sample"
DUPLICATES = "members have the name of an earlier one; the first one is used"
NO_IMAGE = "samples without an image"
EMPTY_IMAGE = "images of zero bytes"
SPECIAL = "links and special members"
NO_KEY = "members without a key and an extension"
NOT_UTF_8 = "texts are not UTF-8 and are not used"
TOO_LARGE = "texts are larger than 1 MiB and are not used"


@dataclass(slots=True)
class Sample:
    """The members whose names are equal up to the first dot of the base name, as WebDataset defines a sample."""

    key: str
    """With the folder in the tar, if there is one."""
    images: dict[str, Place] = field(default_factory=dict)
    """Places of images, by the name of the member, with the escapes of every uri for bytes that are not UTF-8."""
    texts: dict[str, str] = field(default_factory=dict)
    """Contents of texts, by the extension behind the key: ``json``, ``sci.txt``."""

    def texts_of(self, image: str) -> dict[str, str]:
        """Return the texts of one image: of several images with dots in their names, those that share its part of the name.

        >>> Sample("22", {"22.05.png": (0, 1)}, {"05.txt": "a", "06.txt": "b"}).texts_of("22.05.png")
        {'txt': 'a'}
        """
        own = image[len(self.key) + 1 :].rpartition(".")[0]
        if not own:
            return self.texts
        matching = {
            name.removeprefix(f"{own}."): text for name, text in self.texts.items() if name.startswith(f"{own}.")
        }
        return matching or self.texts


def split_name(name: str) -> tuple[str, str]:
    """Return key and extension of a member: they part at the first dot of the base name.

    >>> split_name("./a.b/22.05.png")
    ('a.b/22', '05.png')
    """
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, _, extension = base.partition(".")
    return (folder + slash + stem, extension) if stem and extension else ("", "")


def samples_of(path: Path, findings: Findings, skipped: Findings) -> Iterator[Sample]:
    """Yield the samples of a shard that have an image, in order of their first member. Images are not read.

    Args:
        path: an uncompressed tar.
        findings: for what is odd about samples that are given.
        skipped: for members that are not given.

    Raises:
        SourceError: if it cannot be read, is compressed, or is not a tar.
    """
    try:
        with open_regular(path) as file:
            start = file.read(BLOCK)
            if start.startswith(COMPRESSED):
                raise SourceError(f"the shard {path} is compressed, and images are read in place: unpack it first")
            if not is_header(start):
                raise SourceError(f"the shard {path} is not a tar file" + ("" if start else ": it is empty"))
            yield from _Samples(path, file, findings, skipped)
    except OSError as error:
        raise SourceError(f"the shard {path} cannot be read: {error.strerror or error}") from error


class _Samples:
    """The samples of one tar."""

    def __init__(self, path: Path, file: BinaryIO, findings: Findings, skipped: Findings) -> None:
        self._path, self._file = path, file
        self._findings, self._skipped = findings, skipped
        self._size = path.stat().st_size
        self._open: OrderedDict[str, Sample] = OrderedDict()
        self._given: set[int] = set()
        self._last, self._disordered, self._number = "", set[str](), 0

    def __iter__(self) -> Iterator[Sample]:
        end = 0
        for entry in members_in_place(self._file):
            if isinstance(entry, LostBytes):
                kind = TRUNCATED if entry.is_rest else DAMAGED
                self._findings.add(kind, f"{self._path.name}: {entry} cannot be read")
                end = self._size if entry.is_rest else entry.end
                continue
            self._add(entry)
            end = entry.offset_data + -(-entry.size // BLOCK) * BLOCK
            if len(self._open) > _OPEN_SAMPLES:
                yield from self._closed(self._open.popitem(last=False)[1])
        # A member that ends behind the file, and lost bytes, are reported already.
        if self._size - BLOCK < end and not (set(self._findings.texts()) & {TRUNCATED, DAMAGED}):
            self._findings.add(NO_END, self._path.name)
        for sample in self._open.values():
            yield from self._closed(sample)

    def _add(self, entry: Member) -> None:
        name = escaped(entry.name)
        where = f"{self._path.name}#{name}"
        base = name.rpartition("/")[2]
        if entry.isdir() or base.startswith("._") or base == ".DS_Store":  # folders, and what macOS puts beside files
            return
        if not entry.isreg() or entry.issparse():
            self._skipped.add(SPECIAL, where)
            return
        key, extension = split_name(name)
        if not key:
            self._skipped.add(NO_KEY, where)
            return
        sample = self._sample(key, where)
        if sample is None:
            return
        suffix = f".{extension.rpartition('.')[2].lower()}"
        if entry.offset_data + entry.size > self._size:
            self._findings.add(TRUNCATED, f"{self._path.name}: it ends within {name}")
        elif suffix in IMAGE_SUFFIXES:
            self._add_image(sample, name, entry, where)
        elif suffix in _TEXT_SUFFIXES:
            self._add_text(sample, extension.lower(), entry, where)

    def _sample(self, key: str, where: str) -> Sample | None:
        """Return the sample of a member; None if it was given already."""
        sample = self._open.get(key)
        if sample is None:
            if hash(key) in self._given:
                self._skipped.add(DUPLICATES, where)
                return None
            sample = self._open[key] = Sample(key)
        elif key != self._last and key not in self._disordered:
            self._disordered.add(key)
            self._findings.add(OUT_OF_ORDER, where)
        self._last = key
        return sample

    def _add_image(self, sample: Sample, name: str, entry: Member, where: str) -> None:
        if name in sample.images:
            self._skipped.add(DUPLICATES, where)
        elif not entry.size:
            self._skipped.add(EMPTY_IMAGE, where)
        else:
            sample.images[name] = (entry.offset_data, entry.size)

    def _add_text(self, sample: Sample, extension: str, entry: Member, where: str) -> None:
        if extension in sample.texts:
            self._skipped.add(DUPLICATES, where)
            return
        if entry.size > _MOST_TEXT_BYTES:
            self._findings.add(TOO_LARGE, where)
            return
        at = self._file.tell()
        self._file.seek(entry.offset_data)
        data = self._file.read(entry.size)
        self._file.seek(at)
        try:
            sample.texts[extension] = data.decode("utf-8-sig").replace("\0", "").strip()
        except UnicodeDecodeError:
            self._findings.add(NOT_UTF_8, where)

    def _closed(self, sample: Sample) -> Iterator[Sample]:
        self._given.add(hash(sample.key))
        self._disordered.discard(sample.key)
        if not sample.images:
            self._skipped.add(NO_IMAGE, f"{self._path.name}#{sample.key}")
            return
        if len(sample.images) > 1:
            self._findings.add(
                SEVERAL_IMAGES, f"{self._path.name}#{sample.key}: {number_of(len(sample.images), 'image')}"
            )
        yield sample
