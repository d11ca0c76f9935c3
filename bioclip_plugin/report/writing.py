"""From a store to the finished file: thumbnails are made in threads and written in order, few in memory at a time."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bioclip_core.files.whole import whole_file
from bioclip_plugin.report.gathering import Gathered, Sheet, gather
from bioclip_plugin.report.names import CommonNames
from bioclip_plugin.report.options import ReportOptions
from bioclip_plugin.report.page import END, page_before_thumbnails
from bioclip_plugin.report.text import legible, script_json
from bioclip_plugin.report.thumbnails import Illustrator, Thumbnail, Thumbnails

if TYPE_CHECKING:
    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_plugin.store import Run, Store

_AHEAD = 4  # images a thread that may be made and not yet written


@dataclass(slots=True)
class Written:
    """What a report holds, for the summary."""

    gathered: Gathered
    pictures: int = 0
    picture_bytes: int = 0
    without_picture: int = 0
    """Images whose thumbnail could not be made."""
    first_reason: str = ""
    size: int = 0
    """Bytes of the whole file."""


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
    """Write the report of a run: the whole file or, whatever happens, nothing.

    Args:
        plugins: whose models have licence and citation, and who open raw files and films.
        progress: called with the images drawn and the images in all.

    Raises:
        BioclipError: if the output or the table of names cannot be used.
    """
    names = CommonNames.read(options.names, options.language)
    with whole_file(path, force=force) as draft:
        gathered = gather(store, run, options)
        written = Written(gathered)
        artist = Illustrator(options.size_for(len(gathered.sheets)), plugins, options.base_folder)
        models = plugins.models() if plugins else {}
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(page_before_thumbnails(gathered, names, models, options))
            for number, drawn in enumerate(_drawn(gathered.sheets, artist, options.threads)):
                _write_thumbnails(file, number, drawn, written)
                if progress:
                    progress(number + 1, len(gathered.sheets))
            file.write(END)
        written.size = draft.stat().st_size
    return written


def _drawn(sheets: list[Sheet], artist: Illustrator, threads: int) -> Iterator[Thumbnails]:
    """Each image's thumbnails, in order; on an error or an interruption what has not begun is dropped."""
    waiting: deque[Future[Thumbnails]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="bioclip-report")
    try:
        for sheet in sheets:
            boxes = [_xywh(entry.region) for entry in sheet.entries]
            waiting.append(pool.submit(artist.draw, sheet.item, boxes, sheet.people))
            if len(waiting) > _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _xywh(region: Any) -> tuple[float, float, float, float] | None:
    return (region.x, region.y, region.w, region.h) if region is not None else None


def _write_thumbnails(file: IO[str], number: int, drawn: Thumbnails, written: Written) -> None:
    """One data block an image: the page decodes those alone that it shows."""
    if drawn.whole is None:
        written.without_picture += 1
        written.first_reason = written.first_reason or drawn.reason
        block: dict[str, Any] = {"e": legible(drawn.reason)}
    else:
        block = {"i": _picture(drawn.whole), "c": [one and _picture(one) for one in drawn.close_ups]}
        written.pictures += 1 + sum(one is not None for one in drawn.close_ups)
        written.picture_bytes += drawn.bytes
    file.write(f'<script type="application/json" id="t{number}">{script_json(block)}</script>\n')


def _picture(one: Thumbnail) -> list[Any]:
    """Bytes in base64, size, and the part of the image that is shown, in 1/10,000."""
    shows = [round(10_000 * part, 1) for part in one.shows]
    return [base64.b64encode(one.data).decode("ascii"), one.width, one.height, shows]
