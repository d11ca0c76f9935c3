"""The images and records of a fetcher's folder: found, kept, and what is done when the disk refuses."""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bioclip_core.errors import DataError
from bioclip_core.findings import Findings
from bioclip_plugin.fetching.addresses import shown
from bioclip_plugin.fetching.cache import Cache, DiskFault, Draft, is_full
from bioclip_plugin.fetching.errors import FetchError, FolderError, TryFailed
from bioclip_plugin.fetching.exchange import Body
from bioclip_plugin.fetching.hosts import Clock
from bioclip_plugin.fetching.manifest import Manifest, Record, kept_licence
from bioclip_plugin.fetching.pending import Fetched, Pending

_LICENCES = "rows state different licences for one address; its record keeps the first"
_DISK_AGAIN_S = 30.0
"""Seconds after which a disk that could not be written is tried again."""


class Holdings:
    """Images with their records. Any thread may use them."""

    def __init__(self, folder: Path, findings: Findings, clock: Clock) -> None:
        """Open the folder, or make it.

        Raises:
            DataError: if it cannot be used.
        """
        self._cache, self._findings, self._clock = Cache(folder), findings, clock
        self.folder = self._cache.folder
        self.manifest = Manifest(self.folder)
        self._fault: tuple[float, str] = (0.0, "")

    def draft(self) -> Draft:
        """Return a new file to write an answer to."""
        return self._cache.draft()

    def find(self, pending: Pending, *, again: bool = False) -> Fetched | None:
        """Return the image of an address if its file is whole; ``pending`` keeps its record.

        Args:
            pending: the address.
            again: it was looked for before, so that what is wrong is counted already.
        """
        key, findings = pending.address.key, Findings() if again else self._findings
        try:
            record = self.manifest.read(key)
        except DataError as error:
            findings.add("records of fetched images are damaged; the images are fetched again", str(error))
            return None
        if record is None or not record.is_fetched:
            return None
        path = self._cache.path_of(record.sha256, record.suffix)
        try:
            state = path.stat()
        except OSError:
            findings.add("fetched images are missing from their folder; they are fetched again", str(path))
            return None
        if state.st_size != record.bytes or state.st_mtime_ns != record.modified_ns:  # copied, touched or damaged
            if not self._cache.is_whole(path, record.sha256, record.bytes):
                findings.add("fetched images were changed in their folder; they are fetched again", str(path))
                return None
            record = replace(record, modified_ns=state.st_mtime_ns)
            with suppress(OSError):
                self.manifest.write(key, record)
        if not again and pending.licence:
            record = self._with_licence(pending, record)
        pending.known = record
        return self._of(record)

    def _with_licence(self, pending: Pending, record: Record) -> Record:
        """Return a record with the licence of a row, if it has none; count a row that states another one."""
        if record.licence:
            self.count_other_licence(pending, record.licence, pending.licence)
            return record
        record = replace(record, licence=pending.licence)
        with suppress(OSError):
            self.manifest.write(pending.address.key, record)
        return record

    def count_other_licence(self, pending: Pending, kept: str, licence: str) -> None:
        """Count a row whose licence is not the one that the record of its address keeps."""
        if licence and (shorter := kept_licence(licence)) != kept_licence(kept) and not pending.address.is_document:
            self._findings.add(_LICENCES, f"{shown(pending.address.text)}: {kept_licence(kept)!r} and {shorter!r}")

    def _of(self, record: Record) -> Fetched:
        path = self._cache.path_of(record.sha256, record.suffix)
        return Fetched(path, record.sha256, record.bytes, record.media_type, record.status or 200, True)

    def keep(self, pending: Pending, draft: Draft, body: Body) -> Fetched:
        """Give a whole answer its place, and record it.

        Raises:
            DiskFault: if the system refuses.
            TryFailed: if the folder was removed meanwhile.
        """
        try:
            return self._kept(pending, draft, body)
        except DiskFault as fault:
            if fault.errno != errno.ENOENT:
                raise
            raise TryFailed(
                "the folder for fetched images was removed while the image was written", again=True
            ) from fault

    def _kept(self, pending: Pending, draft: Draft, body: Body) -> Fetched:
        path = self._cache.keep(draft, body.sha256, body.size, body.kind.suffix)
        try:
            modified_ns = path.stat().st_mtime_ns
        except OSError:
            modified_ns = 0
        record = Record(
            pending.address.text, 200, "", self._time(), body.sha256, body.size, body.kind.suffix, body.kind.media_type,
            pending.licence, pending.current.text, body.etag, body.last_modified, pending.tries, modified_ns,
        )  # fmt: skip
        self.manifest.write(pending.address.key, record)
        return Fetched(path, body.sha256, body.size, body.kind.media_type, 200, False)

    def not_changed(self, pending: Pending) -> Fetched:
        """Record that an image is as it was.

        Raises:
            DiskFault: if the system refuses.
            TryFailed: if the image was removed meanwhile.
        """
        assert pending.known is not None  # only then a condition was sent
        if not self._cache.path_of(pending.known.sha256, pending.known.suffix).exists():
            pending.known = None
            raise TryFailed("the folder for fetched images was removed while the host was asked", again=True)
        self.manifest.write(pending.address.key, replace(pending.known, time=self._time()))
        return self._of(pending.known)

    def record_failure(self, pending: Pending, error: FetchError) -> None:
        """Record a failure, unless nothing was asked, or an image of an earlier time is still there."""
        if not pending.tries or pending.known is not None or isinstance(error, FolderError):
            return
        record = Record(
            pending.address.text, error.answered, str(error), self._time(), licence=pending.licence,
            final_address="" if pending.current is pending.address else pending.current.text, tries=pending.tries,
        )  # fmt: skip
        with suppress(OSError):  # the failure is reported all the same
            self.manifest.write(pending.address.key, record)

    def failed(self, fault: DiskFault) -> FolderError:
        """Return the failure of an image that could not be written; for a while the next ones have it without a request."""
        what = "is full" if is_full(fault) else f"cannot be written ({fault.strerror or fault})"
        why = (
            f"the folder {self.folder} for fetched images {what}; free space or mend it, then the same command goes on"
        )
        self._fault = (self._clock.seconds() + _DISK_AGAIN_S, why)
        return FolderError(why)

    def fault(self) -> FolderError | None:
        """Return the failure of every image that would have to be written now."""
        until, why = self._fault
        return FolderError(why) if why and self._clock.seconds() < until else None

    def _time(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
