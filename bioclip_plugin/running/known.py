"""Items of a stream as they are drawn, and what the store and earlier items of the stream know of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.findings import Findings
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Unlisted
from bioclip_plugin.items.web import is_remote, is_web_address
from bioclip_plugin.running.detecting import DetectorSettings
from bioclip_plugin.running.reading import path_of_item, was_misread
from bioclip_plugin.running.tasks import RegionWork, Task, new_task
from bioclip_plugin.store.records import FeatureKey, Listed, Run, Stat

if TYPE_CHECKING:
    from bioclip_plugin.store.results import Results


class Drawn:
    """The caller's items, and the error that ended them: it is raised after the items before it are answered."""

    def __init__(self, items: Iterable[MediaItem | Unlisted]) -> None:
        self._items = items
        self.error: Exception | None = None
        self.has_ended = False

    def __iter__(self) -> Iterator[MediaItem | Unlisted]:
        try:
            yield from self._items
            self.has_ended = True
        except Exception as error:
            self.error = error


class Known:
    """Answers and features that exist already, so that nothing is read or encoded twice."""

    def __init__(
        self,
        store: Results | None,
        run: Run | None,
        findings: Findings | None,
        detection: DetectorSettings | None = None,
        *,
        repeat_done: bool,
        rehash: bool,
        reads_web: bool = False,
    ) -> None:
        """Set up; the arguments are those of the pipeline."""
        self._kept = (store, run) if store is not None and run is not None else None
        self._detection = detection
        self._findings = findings
        self._repeat_done, self._rehash, self._reads_web = repeat_done, rehash, reads_web
        self._in_flight: dict[int, Task] = {}
        self._leaders: dict[FeatureKey, RegionWork] = {}
        """Regions on their way, by the keys of their features, until they are committed."""
        self._shared: deque[set[int]] = deque(maxlen=2)
        """Names that several contents may share, after each of the last two chunks: a chunk is listed one ahead of the work."""
        self.already_done = 0
        """Number of items that the run had done before."""

    def tasks_of(self, chunk: Sequence[Listed], stats: Sequence[Stat | None]) -> list[Task]:
        """Return the tasks of a listed chunk, with their stored answers and features."""
        assert self._kept is not None
        store, run = self._kept
        tasks = []
        shared = _shared_names(chunk)
        for listed, stat in zip(chunk, stats, strict=True):
            is_shared = listed.media_id in shared or any(listed.media_id in names for names in self._shared)
            is_read_again = self._rehash and self._reads_web and is_remote(listed.item)
            if is_shared or is_read_again or (stat is not None and (self._rehash or self._was_misread(listed))):
                listed = replace(listed, done=False, content_sha256=None)
            task = new_task(listed.item, listed, stat, self._detection)
            first = self._in_flight.get(listed.media_id)
            if listed.done:
                self.already_done += 1
            elif first is not None and _is_same_file(first.item, listed.item):
                task.original = first
            else:
                self._in_flight[listed.media_id] = task
            tasks.append(task)
        # Copied at once: the writer's thread forgets tasks meanwhile.
        in_memory = {media for media, task in list(self._in_flight.items()) if task.item.is_in_memory}
        self._shared.append(in_memory | shared)
        asked = [t for t in tasks if t.original is None and (self._repeat_done or not t.is_done) and t.content_sha256]
        self._recall_boxes(asked)
        stored = store.answers(run, [task.listed.media_id for task in asked if task.listed])
        for task in asked:
            regions = stored.get(task.listed.media_id, []) if task.listed else []
            by_box = {region.region.box if region.region else WHOLE_BOX: region for region in regions}
            for work in task.classified:
                work.stored = by_box.get(work.box)
        self.recall_features([task for task in tasks if task.original is None and not task.is_done])
        return tasks

    def _recall_boxes(self, tasks: Sequence[Task]) -> None:
        """Fill in the boxes that the detector found in these contents before."""
        wanted = {(task.content_sha256 or "", task.item.frame): task for task in tasks if task.is_undetected}
        if not wanted:
            return
        assert self._kept is not None
        store, run = self._kept
        found = store.found_boxes(run, list(wanted))
        for task in tasks:
            if not task.is_undetected:
                continue
            boxes = found.get((task.content_sha256 or "", task.item.frame))
            if boxes is not None:
                task.take_boxes(boxes)
            elif task.listed is not None and task.listed.done:  # its boxes were lost: it is done again
                task.listed = replace(task.listed, done=False)
                self.already_done -= 1

    def _was_misread(self, listed: Listed) -> bool:
        """True if the stored results of a file come from a reader that misread its kind: it is read again."""
        if not was_misread(listed.item, listed.content_sha256):
            return False
        if self._findings is not None:
            self._findings.add(
                "files were misread by an earlier version; their results are made again", listed.item.uri
            )
        return True

    def recall_features(self, tasks: Sequence[Task]) -> None:
        """Fill in features that are stored or on their way to the store, so that equal contents are encoded once."""
        pairs = [pair for task in tasks for pair in task.feature_keys()]
        wanted = [(work, key) for work, key in pairs if work.stored is None and work.features is None]
        # First those on their way: what is committed between the two questions is found in the store.
        asked = []
        for work, key in wanted:
            leader = self._leaders.get(key)
            if leader is None:
                asked.append((work, key))
            else:
                work.features = leader.features
        if not asked or self._kept is None:
            return
        store, run = self._kept
        found: dict[FeatureKey, NDArray[np.float16]] = store.features(run, [key for _, key in asked])
        for work, key in asked:
            work.features = found.get(key)

    def leader(self, key: FeatureKey, work: RegionWork) -> RegionWork:
        """Return the region that is encoded for all with these pixels: one on its way, or else this one."""
        return self._leaders.setdefault(key, work)

    def committed(self, tasks: Sequence[Task]) -> None:
        """Forget the tasks of a batch: from now on the store knows them."""
        for task in tasks:
            if task.listed and self._in_flight.get(task.listed.media_id) is task:
                del self._in_flight[task.listed.media_id]
            for work, key in task.feature_keys() if task.was_read else ():
                if self._leaders.get(key) is work:
                    del self._leaders[key]


def _is_same_file(one: MediaItem, other: MediaItem) -> bool:
    """True if two items of one name have the same content; an image in memory may always be another."""
    if one.is_in_memory or other.is_in_memory or one.span != other.span:
        return False
    if is_web_address(one.uri) and None in (one.path, other.path):  # one of them may have been fetched meanwhile
        return True
    return one.path == other.path or path_of_item(one) == path_of_item(other)


def _shared_names(chunk: Sequence[Listed]) -> set[int]:
    """Return the names (media numbers) that several items of a chunk share though their contents may differ."""
    first: dict[int, MediaItem] = {}
    return {one.media_id for one in chunk if not _is_same_file(first.setdefault(one.media_id, one.item), one.item)}
