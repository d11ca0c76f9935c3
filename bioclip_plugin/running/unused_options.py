"""Options of a listing that had nothing to act on: a setting is never ignored in silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bioclip_core.errors import DataError
from bioclip_plugin.contracts.source import ListingOptions, Source
from bioclip_plugin.formats.shared.paths import unused_prefixes
from bioclip_plugin.formats.shared.table_files import header_of
from bioclip_plugin.items.media import MediaItem, Unlisted, uri_of
from bioclip_plugin.sources.files import FilesSource, StandardInputSource
from bioclip_plugin.sources.folder import FolderSource

_PLAIN = (FolderSource, FilesSource, StandardInputSource)
"""Sources of images themselves, without a file that names them."""
_DEFAULTS = ListingOptions()


class UnusedOptions:
    """Watches the entries of a listing, and reports at its end the options that had no effect."""

    def __init__(self, options: ListingOptions, sources: Sequence[tuple[str, Source | None]]) -> None:
        self._options, self._sources = options, sources
        self._has_boxes = self._has_videos = False

    def see(self, entry: MediaItem | Unlisted, *, has_parts: bool = False) -> None:
        """Take note of an entry, and of the frames that it was split into."""
        if isinstance(entry, MediaItem):
            self._has_boxes |= bool(entry.regions)
            self._has_videos |= has_parts or entry.frame > 0

    def report(self) -> None:
        """Count each option that had no effect in the findings of the listing."""
        options, findings = self._options, self._options.findings
        tables = [address for address, source in self._sources if getattr(source, "reads_tables", False)]
        if (options.column or options.encoding) and not tables:
            findings.add("options of tables (--column, --encoding) have no effect, since no input is a table")
        if options.date_order and "date_order" not in findings.used:
            self._report_order(tables)
        for option, reason in self._others():
            findings.add(f"{option} has no effect, since {reason}")
        for old in unused_prefixes(options):
            findings.add("beginnings in --replace-prefix do not fit any file name", old)

    def _report_order(self, tables: Sequence[str]) -> None:
        option = "--day-first" if self._options.day_first else "--month-first"
        if not tables:
            self._options.findings.add(f"{option} has no effect, since no input is a table or file with dates")
        for address in tables:
            self._options.findings.add(
                f"{option} has no effect, since no column is read as a date; name one with --column eventDate=HEADING",
                f"{uri_of(address)} has {', '.join(_columns(address)) or 'no columns'}",
            )

    def _others(self) -> Iterator[tuple[str, str]]:
        """Yield the other options that had nothing to act on, each with the reason."""
        given = {name for name in ListingOptions.__slots__ if getattr(self._options, name) != getattr(_DEFAULTS, name)}
        if all(source is None or isinstance(source, _PLAIN) for _, source in self._sources):
            for name in sorted(given & {"base_folder", "allow_outside"}):
                yield f"--{name.replace('_', '-')}", "every input is an image or a folder"
        if not self._has_videos:
            for name in sorted(given & {"frames_per_second", "video_clock"}):
                yield f"--{name.replace('_', '-')}", "no input is a video"
        if not self._has_boxes and "turned_boxes" in given:
            yield "--turned-boxes", "no input has boxes"


def _columns(address: str) -> list[str]:
    try:
        return header_of(address)
    except (OSError, DataError):  # the listing has reported it
        return []
