"""From a store to the finished file: threads make the thumbnails, which are written in order, with few in memory."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bioclip_core.errors import DataError
from bioclip_core.files.moved import MovedNames
from bioclip_core.files.present import exists
from bioclip_core.files.whole import whole_file
from bioclip_core.process.threads import Job, Workers
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.fetching.kept import KeptImages
from bioclip_plugin.items.media import path_of
from bioclip_plugin.items.web import is_web_address
from bioclip_plugin.report.gathering import Gathered, Sheet, gather
from bioclip_plugin.report.names import CommonNames
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.report.page import END, page_before_thumbnails
from bioclip_plugin.report.text import legible, script_json
from bioclip_plugin.report.thumbnails import Illustrator, Thumbnail, Thumbnails
from bioclip_plugin.running.places import RunPlaces
from bioclip_plugin.store import Run, Store

_AHEAD = 4  # images per thread that may be drawn and not yet written


@dataclass(slots=True)
class Written:
    """Figures of a written report, for the summary."""

    gathered: Gathered
    pictures: int = 0
    picture_bytes: int = 0
    without_picture: int = 0
    """Number of images whose thumbnail could not be made."""
    first_reason: str = ""
    first_missing: str = ""
    """Uri of the first image whose thumbnail could not be made."""
    missing_in: str = ""
    """Folder that no longer exists, with which the uris of these images begin; empty if there is none."""
    size: int = 0
    """Size of the file in bytes."""


def write_report(
    path: Path,
    store: Store,
    run: Run,
    options: ReportOptions,
    *,
    plugins: BioclipPluginManager | None = None,
    progress: Callable[[int, int], None] | None = None,
    force: bool = False,
) -> Written:
    """Write the report of a run: the whole file, or nothing if anything fails.

    Args:
        plugins: their models have licence and citation, and they open raw files and films.
        progress: called with the numbers of drawn images and of all images.

    Raises:
        BioclipError: if the output or the table of names cannot be used.
    """
    # Before the run is read, which takes longer.
    names = CommonNames.read(options.names, options.language, options, options.findings)
    with whole_file(path, force=force) as draft:
        gathered = gather(store, run, options)
        written = Written(gathered)
        bases = (options.base_folder,) if options.base_folder else RunPlaces(run, store.shown_address).folders
        moved = MovedNames(options.prefixes, options.base_folder or Path())
        artist = Illustrator(options.size_for(len(gathered.sheets)), plugins, bases, moved, _kept(run, bases))
        models = plugins.models() if plugins else {}
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(page_before_thumbnails(gathered, names, models, options))
            for number, drawn in enumerate(_drawn(gathered.sheets, artist, options.threads)):
                _write_thumbnails(file, number, drawn, written)
                if progress:
                    progress(number + 1, len(gathered.sheets))
            file.write(END)
        written.size = draft.stat().st_size
    written.missing_in = _gone(written, bases) if moved.new_name(written.first_missing) is None else ""
    return written


def _kept(run: Run, bases: Sequence[Path]) -> KeptImages | None:
    """Return the folder into which the run's images on the web were fetched; None without one."""
    folder = run.settings.get("fetch")
    for base in bases if isinstance(folder, str) else ():
        with suppress(DataError):
            return KeptImages(base / str(folder))
    return None


def _drawn(sheets: list[Sheet], artist: Illustrator, threads: int) -> Iterator[Thumbnails]:
    """Yield each image's thumbnails, in order; on an error or interruption, tasks that have not begun are dropped."""
    waiting: deque[Job[Thumbnails]] = deque()
    with Workers(threads, "bioclip-report") as pool:
        for sheet in sheets:
            boxes = [(box.x, box.y, box.w, box.h) if (box := entry.region) else None for entry in sheet.entries]
            what = f"{sheet.item.uri}: drawing"
            waiting.append(pool.submit_named(what, artist.draw, sheet.item, boxes, sheet.people))
            if len(waiting) > _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write_thumbnails(file: IO[str], number: int, drawn: Thumbnails, written: Written) -> None:
    """Write one data block per image: the page decodes only the visible ones."""
    if drawn.whole is None:
        written.without_picture += 1
        uri = written.gathered.sheets[number].item.uri
        folder = uri[: max(uri.rfind("/"), uri.rfind("\\"), 0)]
        written.missing_in = _common_folder(written.missing_in, folder) if written.first_reason else folder
        written.first_reason, written.first_missing = (
            (written.first_reason, written.first_missing) if written.first_reason else (drawn.reason, uri)
        )
        block: dict[str, Any] = {"e": legible(drawn.reason)}
    else:
        block = {"i": _picture(drawn.whole), "c": [one and _picture(one) for one in drawn.close_ups]}
        written.pictures += 1 + sum(one is not None for one in drawn.close_ups)
        written.picture_bytes += drawn.bytes
    file.write(f'<script type="application/json" id="t{number}">{script_json(block)}</script>\n')


def _common_folder(one: str, other: str) -> str:
    """Return the beginning, as far as folders, that two folders have in common."""
    while one and other != one and not other.startswith((f"{one}/", f"{one}\\")):
        one = one[: max(one.rfind("/"), one.rfind("\\"), 0)]
    return one


def _gone(written: Written, bases: Sequence[Path]) -> str:
    """Return the folder of all images without a thumbnail, or else the outermost one of the first, that does not exist."""
    first = written.first_missing
    if is_web_address(first):
        return ""
    outer = [first[:end] for end, sign in enumerate(first) if sign in "/\\" and end]
    return next((folder for folder in (written.missing_in, *outer) if folder and not _exists(folder, bases)), "")


def _exists(folder: str, bases: Sequence[Path]) -> bool:
    """True if a folder of the uris of images is in one of the folders where they may begin, or on the web."""
    return "://" in folder or any(exists(base / path_of(folder)) for base in bases)


def _picture(one: Thumbnail) -> list[Any]:
    """Return bytes in base64, size, and the visible part of the image in 1/10,000."""
    return [
        base64.b64encode(one.data).decode("ascii"),
        one.width,
        one.height,
        [round(10_000 * part, 1) for part in one.shows],
    ]
