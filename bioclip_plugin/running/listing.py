"""Listing of the addresses that a user named: each by the first source that takes it, unpacked once, cleaned up at the end."""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import MappingProxyType, TracebackType
from typing import IO, Self

from bioclip_core.errors import SourceError
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import exists
from bioclip_core.files.regular import NOT_A_FILE, is_special
from bioclip_core.files.streamed_json import beginning
from bioclip_plugin.contracts.source import ListingOptions, ReviewingSource, Source, TemporaryFolders
from bioclip_plugin.fetching.schemes import refusal_of
from bioclip_plugin.formats.shared.paths import moved_name
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of
from bioclip_plugin.items.web import WITH_PASSWORD, is_web_address, kept_secret, without_password
from bioclip_plugin.running.unused_options import UnusedOptions
from bioclip_plugin.sources.folder import FolderSource
from bioclip_plugin.store.records import StatedReview

Entry = MediaItem | Unlisted
Expand = Callable[[MediaItem, ListingOptions], Iterable[Entry] | None]
"""Function that lists the parts of an item (frames, pages), or returns None for a single image."""
Known = Callable[[str | None], Iterator[MediaItem]]
"""Function that returns the items that a store knows under an address, or all of them for None."""

_JSON_ADVICE = (
    "known are MegaDetector results, SpeciesNet predictions, detections of PyTorch-Wildlife, plain lists of detections "
    "([{file, detections}]), and the datapackage.json of Camtrap DP; convert COCO Camera Traps with megadetector-utils "
    "(megadetector.data_management.cct_to_md), give one of these, or images (is the file complete?)"
)
EMPTY = "given places without images"
"""Text of the finding about folders and files without any item."""

_MOST_AHEAD = 64  # entries listed per entry taken: the total is known after about 2% of the run
_SPOOL_IN_MEMORY_BYTES = 8 << 20
_SPOOL_BYTES = 512 << 20  # on a disk that may be small; beyond this the listing waits for the work


class Listing:
    """The items of some addresses, in the order given. Use it in a ``with`` statement.

    A source may unpack files (see :attr:`ListingOptions.temporary`); they exist until the listing is closed. Iterating
    lists lazily and asks each source once. An image that two addresses name is listed twice; the store recognises it by
    its uri.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        sources: Sequence[Source],
        options: ListingOptions | None = None,
        expand: Expand | None = None,
        known: Known | None = None,
    ) -> None:
        """Find the source of each address, so that a misspelt one is reported now and not after a night's work.

        Args:
            addresses: paths, ``-`` for paths on standard input, or an address that a plugin's source understands.
            sources: the sources, in the order in which they are asked.
            options: options for the sources.
            expand: splits an item into its parts, such as the frames of a video.
            known: items of a store, for an address that is gone or empty, and for a listing without addresses.

        Raises:
            SourceError: if no source takes an address and ``known`` is empty under it.
        """
        self._temporary = TemporaryFolders()
        self._options = replace(options or ListingOptions(), temporary=self._temporary, lists_addresses=True)
        self._expand = expand
        self._known = known
        try:
            self._sources = [(address, self._source_of(address, sources)) for address in addresses]
        finally:
            for fault in faults_of(sources):
                self._options.findings.add("sources of plugins failed and were not asked", fault)

    def __iter__(self) -> Iterator[Entry]:
        """List every address.

        Raises:
            SourceError: if an address cannot be read as a whole.
        """
        options = UnusedOptions(self._options, self._sources)
        for item in map(self._moved, self._known(None)) if not self._sources and self._known else ():
            options.see(item)
            yield item
        for address, source in self._sources:
            is_empty = True
            for entry in source.items(address, self._options) if source else ():
                is_empty = False
                parts = self._expand(entry, self._options) if self._expand and isinstance(entry, MediaItem) else None
                options.see(entry, has_parts=parts is not None)
                yield from map(kept_secret, (entry,) if parts is None else parts)
            if is_empty and self._known and address != "-":
                for item in map(self._moved, self._known(uri_of(address))):
                    is_empty = False
                    options.see(item)
                    yield item
            if is_empty:
                self._options.findings.add(EMPTY, uri_of(address))
        options.report()

    def counted(self, on_total: Callable[[int], None]) -> Iterator[Entry]:
        """List every address, ahead of the work, and report the total long before the last item is taken.

        Entries wait in a temporary file. Standard input is not read ahead: its writer may be waiting for an answer.
        """
        if any(address == "-" for address, _ in self._sources):
            return iter(self)
        return _listed_ahead(iter(self), on_total)

    def begun(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Return the entries of this listing once the first one is there.

        Raises:
            SourceError: if there are none, with the reason.
        """
        for first in entries:
            return chain([first], entries)
        raise SourceError(self._why_empty())

    def _why_empty(self) -> str:
        if not self._sources:
            return "the store has no images yet; give folders, files or tables of images"
        return "; ".join(
            source.why_empty(address)
            if isinstance(source, FolderSource)
            else "there are no paths on standard input"
            if address == "-"
            else f"{uri_of(address)} lists no images"
            for address, source in self._sources
        )

    def is_unpacked(self, item: MediaItem) -> bool:
        """True for an item whose file was unpacked, and is removed when this listing is closed."""
        return self._temporary.hold(item.path)

    def reviews(self) -> Iterator[StatedReview]:
        """Yield the reviews in the files at the addresses."""
        for address, source in self._sources:
            if isinstance(source, ReviewingSource):
                yield from source.reviews(address, self._options)

    def _moved(self, item: MediaItem) -> MediaItem:
        """Return an item of the store with the file that its name now means; its name stays."""
        moved = moved_name(item.uri, Path(), self._options)
        return replace(item, path=moved[1] / moved[0]) if moved else item

    def close(self) -> None:
        """Remove what sources unpacked."""
        self._temporary.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _source_of(self, address: str, sources: Sequence[Source]) -> Source | None:
        if is_web_address(address) and (secret := without_password(address)) != address:
            raise SourceError(f"{secret}: {WITH_PASSWORD}")
        try:
            return source_of(address, sources)
        except SourceError:
            if self._known is None or next(self._known(uri_of(address)), None) is None:
                raise
            return None


def faults_of(sources: Sequence[Source]) -> list[str]:
    """Return the faults of sources of plugins that could not say whether they take an address."""
    return [fault for source in sources if (fault := getattr(source, "fault", ""))]


def source_of(address: str, sources: Sequence[Source]) -> Source:
    """Return the first source that takes the address.

    Raises:
        SourceError: if none does.
    """
    for source in sources:
        if source.takes(address):
            return source
    if (refusal := refusal_of(address)) and not exists(path_of(address)):
        raise SourceError(refusal)
    shown = uri_of(address) or "(an empty address)"
    names = ", ".join(source.name for source in sources)
    if not exists(Path(address)) and not exists(path_of(address)):
        raise SourceError(
            f"{shown} does not exist{near_hint(address) or f'; give a path of one of these kinds: {names}'}"
        )
    if is_special(path_of(address)):
        raise SourceError(f"{shown} cannot be read: {NOT_A_FILE}")
    if beginning(path_of(address)).text:
        raise SourceError(f"{shown} is JSON of an unknown kind: {_JSON_ADVICE}")
    faults = "".join(f"; {fault}" for fault in faults_of(sources))
    raise SourceError(f"{shown} cannot be listed; give one of these kinds: {names}{faults}")


def _listed_ahead(entries: Iterator[Entry], on_total: Callable[[int], None]) -> Iterator[Entry]:
    total = taken = 0
    end: Exception | None = None
    with SpooledTemporaryFile(_SPOOL_IN_MEMORY_BYTES, prefix="bioclip-listing-") as file:
        spool = _Spool(file)
        while True:
            held: Entry | None = None
            goal = spool.count + min(
                2 + taken // 4, _MOST_AHEAD
            )  # little at first: the first images are not kept waiting
            taken += 1
            try:
                while end is None and held is None and spool.count < goal and not spool.is_full:
                    entry = next(entries)
                    total += 1
                    held = None if spool.put(entry) else entry
            except StopIteration as error:
                end = error
                on_total(total)
            except Exception as error:  # raised once the entries before it are taken
                end = error
            if held is not None:
                while spool.count:
                    yield spool.take()
                yield held
            elif spool.count:
                yield spool.take()
            else:
                break
    if end is not None and not isinstance(end, StopIteration):
        raise end


# The empty metadata of an item are a mapping proxy, which pickle does not know.
_REDUCERS = {**copyreg.dispatch_table, MappingProxyType: lambda proxy: (MappingProxyType, (dict(proxy),))}


class _Spool:
    """A queue of entries in a temporary file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._read_at = 0
        self._size = 0
        self.count = 0

    @property
    def is_full(self) -> bool:
        return self._size >= _SPOOL_BYTES

    def put(self, entry: Entry) -> bool:
        """Append an entry; return False for one that holds an image or that cannot be written."""
        if isinstance(entry, MediaItem) and (entry.data is not None or entry.image is not None):
            return False
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = _REDUCERS
        try:
            pickler.dump(entry)
        except Exception:  # a plugin may put anything into an entry
            return False
        self._file.seek(self._size)
        self._size += self._file.write(buffer.getbuffer())
        self.count += 1
        return True

    def take(self) -> Entry:
        """Remove and return the oldest entry."""
        self._file.seek(self._read_at)
        entry: Entry = pickle.load(self._file)
        self._read_at = self._file.tell()
        self.count -= 1
        if not self.count:
            self._read_at = self._size = 0
            self._file.truncate(0)
        return entry
