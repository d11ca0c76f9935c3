"""Sources and exporters of plugins, behind stand-ins that name the plugin in whatever goes wrong in them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError, SourceError, UsageError
from bioclip_plugin.contracts.checking import checked_entry, checked_name
from bioclip_plugin.contracts.containing import Garbage, Owner, mark, reason_of, shown
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.items.media import MediaItem, Unlisted, uri_of

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.contracts.export_options import ExportOptions
    from bioclip_plugin.contracts.source import ListingOptions

log = logging.getLogger(__name__)

_MOST_REPEATS = 1_000
_MOST_PROBLEMS = 1_000_000


# Sources


def contained_source(source: Any, owner: Owner) -> ContainedSource:
    """Return a source behind its stand-in."""
    name = checked_name(getattr(source, "name", None), "source")
    for method in ("takes", "items"):
        if isinstance(source, type) or not callable(getattr(source, method, None)):
            raise Garbage(f"the source {name} is {shown(source)}; an object with takes and items is needed")
    if callable(getattr(source, "reviews", None)):
        return ContainedReviewingSource(source, name, owner)
    return ContainedSource(source, name, owner)


class ContainedSource:
    """A source of a plugin."""

    def __init__(self, source: Any, name: str, owner: Owner) -> None:
        self.name, self._source, self._owner = name, source, owner
        self.reads_tables = bool(getattr(source, "reads_tables", False))
        self.fault = ""
        """Reason why it was not asked, or its answer not used; for the caller's findings."""

    def takes(self, address: str) -> bool:
        """True if the address is for this source; one that fails, or says neither yes nor no, does not take it."""
        what = f"takes of the source {self.name}"
        try:
            answer = self._owner.call(what, self._source.takes, address)
            if type(answer).__name__ in ("bool", "bool_"):
                return bool(answer)
            raise self._owner.blamed(what, Garbage(f"{what} returned {shown(answer)}; True or False is needed"))
        except BioclipError as error:
            if not self.fault:  # once, however many addresses there are
                log.warning("%s", error)
            self.fault = self.fault or str(error)
            return False

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        """Yield the items; an entry that cannot be used, and a source that fails, is an ``Unlisted`` with the reason.

        Raises:
            SourceError, UsageError: if the source says so.
        """
        what = f"the source {self.name}"
        count, marker, seen = 0, ("", 0), 0
        try:
            entries = self._owner.call(what, self._source.items, address, options)
            for entry in self._owner.iterate(what, entries):
                count += 1
                checked = self._checked(entry, address, count)
                name = (checked.uri, checked.frame)
                if not count & (count - 1):  # a marker at each power of two, so that a circle of any length is found
                    marker, seen = name, 0
                elif name == marker:
                    seen += 1
                    if seen > _MOST_REPEATS:
                        times = f"gave the item {checked.uri} more than {_MOST_REPEATS:,} times"
                        raise self._owner.blamed(what, Garbage(f"{what} {times}; it seems to be endless"))
                yield checked
        except BioclipError as error:
            if isinstance(error, (SourceError, UsageError)) or error.plugin_name != self._owner.name:
                raise
            yield Unlisted(f"{uri_of(address)}#entry={count + 1}", reason_of(error))

    def _checked(self, entry: Any, address: str, number: int) -> MediaItem | Unlisted:
        try:
            checked = self._owner.call(f"reading an entry of the source {self.name}", checked_entry, entry)
            if isinstance(checked, MediaItem) and checked.image is not None:
                mark(checked.image, self._owner)
            return checked
        except BioclipError as error:
            uri = ""
            with suppress(BioclipError):  # a class of the plugin's own may not even tell its uri
                given = self._owner.call("reading a uri", getattr, entry, "uri", None)
                uri = given if type(given) is str and given.strip() else ""
            return Unlisted(uri or f"{uri_of(address)}#entry={number}", reason_of(error))


class ContainedReviewingSource(ContainedSource):
    """A source of a plugin whose files also hold reviews."""

    def reviews(self, address: str, options: ListingOptions) -> Iterator[Any]:
        """Yield the reviews.

        Raises:
            PluginError: if the source fails, or gives something else.
        """
        from bioclip_plugin.store.records import StatedReview

        what = f"reviews of the source {self.name}"
        for review in self._owner.iterate(what, self._owner.call(what, self._source.reviews, address, options)):
            if not isinstance(review, StatedReview):
                raise self._owner.blamed(what, Garbage(f"{what} gave {shown(review)}; a StatedReview is needed"))
            yield review


# Exporters


def _states(path: Path) -> dict[Path, tuple[int, int, int]]:
    """Return size, time and number of a file, or of each file of a folder."""
    states = {}
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        with suppress(OSError):
            if not file.is_dir():
                stat = file.lstat()
                states[file] = stat.st_size, stat.st_mtime_ns, stat.st_ino
    return states


def _link_out_of(folder: Path) -> Path | None:
    """Return the name of a link that leads out of a folder."""
    whole = folder.resolve()
    links = (path for path in folder.rglob("*") if path.is_symlink())
    return next((path.relative_to(folder) for path in links if not path.resolve().is_relative_to(whole)), None)


def contained_exporter(exporter: Any, owner: Owner) -> ContainedExporter:
    """Return an exporter behind its stand-in."""
    name = checked_name(getattr(exporter, "name", None), "format")
    for method in ("write", "recognises", "check"):
        if isinstance(exporter, type) or not callable(getattr(exporter, method, None)):
            raise Garbage(
                f"the format {name} is {shown(exporter)}; an object with write, recognises and check is needed"
            )
    if not isinstance(getattr(exporter, "folder", None), bool) or not isinstance(
        getattr(exporter, "description", None), str
    ):
        raise Garbage(f"the format {name} needs description, a text, and folder, True or False")
    return ContainedExporter(exporter, name, owner)


class ContainedExporter:
    """An exporter of a plugin. Its optional attributes are copied, by which the command knows its kind."""

    def __init__(self, exporter: Any, name: str, owner: Owner) -> None:
        self.name, self._exporter, self._owner = name, exporter, owner
        self.description: str = " ".join(exporter.description.split())
        self.folder: bool = exporter.folder
        for attribute in ("options", "files"):
            if hasattr(exporter, attribute):
                names = getattr(exporter, attribute)
                if isinstance(names, str) or not all(isinstance(one, str) for one in names):
                    raise Garbage(f"the format {name} has {attribute} {shown(names)}; a list of names is needed")
                setattr(self, attribute, tuple(names))
        if hasattr(exporter, "names_deployments"):
            self.names_deployments = bool(exporter.names_deployments)
        for method in ("others", "committed", "abandoned"):
            if callable(getattr(exporter, method, None)):
                setattr(self, method, getattr(self, f"_{method}"))

    def write(self, path: Path, export: Export) -> int:
        """Write the items and return the number of rows.

        Raises:
            BioclipError: if the exporter fails, with the plugin's name.
        """
        try:
            rows = self._call("write", path, export)
        finally:
            if not self.folder and path.is_dir() and not path.is_symlink():  # the caller removes a file
                shutil.rmtree(path, ignore_errors=True)
        if path.is_symlink() or not (path.is_dir() if self.folder else path.is_file()):
            what = f"write of the format {self.name}"
            raise self._owner.blamed(what, Garbage(f"{what} did not write the {'folder' if self.folder else 'file'}"))
        if self.folder and (link := _link_out_of(path)) is not None:
            what = f"write of the format {self.name}"
            raise self._owner.blamed(what, Garbage(f"{what} left {link}, a link out of the folder; a copy is needed"))
        if not isinstance(rows, int) or isinstance(rows, bool) or rows < 0:
            raise self._garbage("write", rows, "the number of rows")
        return rows

    def recognises(self, path: Path) -> bool:
        """True if a file is of this format.

        Raises:
            PluginError: if the exporter fails, or says neither yes nor no.
        """
        answer = self._call("recognises", path)
        if type(answer).__name__ not in ("bool", "bool_"):
            raise self._garbage("recognises", answer, "True or False")
        return bool(answer)

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        """Yield the problems of a file.

        Raises:
            PluginError: if the exporter fails, or gives something else.
        """
        what = f"check of the format {self.name}"
        before = _states(path)
        for problem in self._owner.iterate(what, self._call("check", path, options), _MOST_PROBLEMS):
            texts = isinstance(problem, Problem) and (problem.file, problem.record, problem.message, problem.value)
            if (
                not texts
                or not all(isinstance(text, str) for text in texts)
                or problem.severity not in ("error", "warning")
            ):
                raise self._garbage("check", problem, "a Problem")
            yield problem
        if _states(path) != before:
            raise self._owner.blamed(what, Garbage(f"{what} changed or removed what it was to read"))

    def _others(self, path: Path) -> list[str]:
        return self._texts("others", self._call("others", path))

    def _committed(self, export: Export) -> list[str]:
        return self._texts("committed", self._call("committed", export))

    def _abandoned(self, export: Export) -> None:
        self._call("abandoned", export)

    def _texts(self, method: str, texts: Any) -> list[str]:
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise self._garbage(method, texts, "a list of texts")
        return list(texts)

    def _call(self, method: str, *args: Any) -> Any:
        return self._owner.call(f"{method} of the format {self.name}", getattr(self._exporter, method), *args)

    def _garbage(self, method: str, value: Any, needed: str) -> BioclipError:
        what = f"{method} of the format {self.name}"
        return self._owner.blamed(what, Garbage(f"{what} returned {shown(value)}; {needed} is needed"))
