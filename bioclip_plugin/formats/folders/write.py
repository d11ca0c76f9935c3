"""The exporter of folders: links to images, or copies, in one folder per taxon or verdict. Originals are never moved."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path
from typing import IO

from bioclip_core.errors import BioclipError, DataError
from bioclip_core.files.archives import ARCHIVE_FAULTS
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import is_file, is_folder
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.folders.manifest import (
    MANIFEST,
    Entry,
    is_manifest,
    others_in,
    problems_of,
    write_entry,
    write_header,
)
from bioclip_plugin.formats.folders.names import VERDICT_FOLDERS, Names
from bioclip_plugin.formats.folders.placing import Place, places_of, shows_people
from bioclip_plugin.formats.shared.detections import is_whole_file
from bioclip_plugin.formats.shared.image_verdicts import threshold_of
from bioclip_plugin.formats.shared.relative_names import CommonFolder, NamesUnder, OutsideFolder, RelativeNames
from bioclip_plugin.store.records import Review, StoredItem, asked_level

_AT_ONCE = 256  # files whose reviews are queried together
_PEOPLE = "images show people and are left out; --show-people takes them too"
_MISSING = "original files are not there and are left out"
_UNUSABLE = "images are not files of their own (members of archives, addresses on the web) and are left out"


class FoldersExporter:
    """Folders with links to the images of each taxon, and a manifest of them."""

    name = "folders"
    description = "links to the images, or copies, in one folder per taxon"
    folder = True
    options = frozenset({"base_folder", "show_people", "folders_by", "link", "replace_prefix"})
    files = (MANIFEST,)

    def write(self, path: Path, export: Export) -> int:
        """Make the links.

        Raises:
            BioclipError: if the system does not make them, with the option for another kind.
        """
        _refuse_inside_sources(path, export)
        with ExitStack() as stack:
            manifest = stack.enter_context(
                (path / MANIFEST).open("w", encoding="utf-8", errors="backslashreplace", newline="")
            )
            writer = _Folders(path, export, stack.enter_context(Names()), manifest)
            for whole, chosen, reviews in _files(export):
                writer.add(whole, chosen, reviews)
            return writer.count

    def recognises(self, path: Path) -> bool:
        try:
            if is_folder(path):
                with (path / MANIFEST).open("rb") as file:
                    return is_manifest(file.read(1024))
            with zipfile.ZipFile(path) as packed, packed.open(MANIFEST) as member:
                return is_manifest(member.read(1024))
        except (KeyError, *ARCHIVE_FAULTS):
            return False

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        return problems_of(path)

    def others(self, path: Path) -> list[str]:
        """Return the files of a folder that an earlier export did not write, or that were changed since."""
        return others_in(path)


def _refuse_inside_sources(path: Path, export: Export) -> None:
    """Refuse an output inside a folder of images, where the links would be listed as images.

    Raises:
        BioclipError: if it is.
    """
    for source in export.run.sources:
        folder = export.file_of(source)
        if is_folder(folder) and path.resolve().is_relative_to(folder.resolve()):
            raise BioclipError(
                f"the output is inside {folder}, from which this run listed images: the links would be listed as images too; "
                "give a folder outside it"
            )


def _files(export: Export) -> Iterator[tuple[list[StoredItem], list[StoredItem], list[Review]]]:
    """Yield the items of each file in listing order, all of them and those that are selected, with their reviews."""
    level = (asked_level(export.run),)
    pairs = export.whole_items(None if export.selection else level)
    groups = (list(items) for _, items in groupby(pairs, key=lambda pair: pair[0].item.uri))
    while together := list(islice(groups, _AT_ONCE)):
        by_frame = export.reviews_of([whole for group in together for whole, _ in group])
        for group in together:
            chosen = [item for _, item in group if item is not None]
            reviews = [review for whole, _ in group for review in by_frame.get((whole.item.uri, whole.item.frame), ())]
            if chosen:
                yield [whole for whole, _ in group], chosen, reviews


class _Folders:
    """A folder of links that is being filled."""

    def __init__(self, path: Path, export: Export, names: Names, manifest: IO[str]) -> None:
        self.count = 0
        self._path, self._export, self._names, self._manifest = path, export, names, manifest
        self._level, self._threshold = asked_level(export.run), threshold_of(export.run)
        self._relative = _relative_names(export)
        write_header(manifest)  # type: ignore[arg-type]

    def add(self, whole: Sequence[StoredItem], chosen: Sequence[StoredItem], reviews: Sequence[Review]) -> None:
        """Place one file in its folders, or report why not."""
        options, findings, uri = self._export.options, self._export.findings, whole[0].item.uri
        if not options.show_people and shows_people(whole, reviews, self._level, self._threshold):
            findings.add(_PEOPLE, uri)
            return
        original = self._export.file_of(uri)
        if not is_file(original):
            if "://" in uri or "#" in uri or not all(map(is_whole_file, whole)):
                findings.add(_UNUSABLE, uri)
            else:
                hint = "" if findings.count(_MISSING) else near_hint(original)
                findings.add(_MISSING, f"{uri}: {original} does not exist{hint}")
            return
        for place in places_of(chosen, reviews, options.folders_by, self._level, self._threshold):
            self._link(original, uri, place)

    def _link(self, original: Path, uri: str, place: Place) -> None:
        folder = self._names.folder(place.name) if place.verdict == "taxon" else VERDICT_FOLDERS[place.verdict]
        name = self._names.file(folder, self._relative_name(uri), uri)
        target, kind = self._path / folder / name, self._export.options.link
        target.parent.mkdir(exist_ok=True)
        state = original.stat()
        _made(original, target, kind)
        entry = Entry(
            f"{folder}/{name}", place.name or place.verdict, place.rank,
            "" if place.probability is None else f"{place.probability:.6g}", kind, uri, os.path.abspath(original),  # noqa: PTH100
            str(state.st_size), str(state.st_mtime_ns),
        )  # fmt: skip
        write_entry(self._manifest, entry)  # type: ignore[arg-type]
        self.count += 1

    def _relative_name(self, uri: str) -> str:
        try:
            return self._relative(uri)
        except (OutsideFolder, DataError):
            return uri  # a name of its own all the same


def _relative_names(export: Export) -> RelativeNames:
    if export.options.base_folder is not None:
        return NamesUnder(export.options.base_folder)
    return CommonFolder(item.uri for item in export.store.listed_items(export.run)).names()


def _made(original: Path, target: Path, kind: str) -> None:
    """Make a link or a copy.

    Raises:
        BioclipError: if the system refuses.
    """
    source = original.absolute()
    try:
        if kind == "symlink":
            target.symlink_to(source)
        elif kind == "hardlink":
            os.link(os.path.realpath(source), target)
        else:
            shutil.copy2(source, target)
    except OSError as error:
        others = " or ".join(f"--link {other}" for other in ("symlink", "hardlink", "copy") if other != kind)
        raise BioclipError(
            f"a {kind} of {original} cannot be made: {error.strerror or error}; give {others}, or a folder on another disk"
        ) from error
