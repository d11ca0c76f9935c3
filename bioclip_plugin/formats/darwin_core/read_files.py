"""The files of a Darwin Core archive: its tables as a folder, and where its images are."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.archive_tar import FAULTS, TarReader
from bioclip_core.files.archives import Archive, archive_kind, open_archive
from bioclip_core.files.meta_xml import META, META_BYTES, described
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.items.media import uri_of

_LOOKED_AT = 1 << 16  # bytes of a file; of a tar file so many headers of 512
_PASSED_OVER = 64 << 20  # a larger member may have to be decompressed to get to the next header


class ArchiveFiles:
    """Where an archive's tables lie, and how its images are found."""

    def __init__(
        self, folder: Path, path: Path, options: ListingOptions, archive: Archive | None = None, top: str = ""
    ) -> None:
        self.folder = folder
        """Of meta.xml and the tables."""
        self._archive = archive
        self._path = path
        self._top = top
        self._unpacked: Path | None = None
        own = path if archive is None else path.parent
        # A folder that somebody named comes first; the archive's own is looked into as well.
        self._bases = [*([options.base_folder] if options.base_folder is not None else []), own]
        self._options = replace(options, base_folder=None)

    def find(self, names: Sequence[str]) -> tuple[str, Path] | str:
        """The uri and path of the image that goes by one of these names, or the reason why there is none.

        A name on the web stands for a file of that name beside the archive: nothing is fetched.
        """
        reasons: list[str] = []
        missing: tuple[str, Path] | None = None
        for name in names:
            web = urlsplit(name) if "://" in name else None
            for written in _names_of(name):
                if inside := self._inside(written):
                    return inside
                for base in self._bases:
                    try:
                        uri, path = located(written, base, self._options)
                    except UsageError as error:
                        reasons.append(str(error))
                        continue
                    if os.path.isfile(path):  # noqa: PTH113 - Path's own raises where a name is too long
                        return uri, path
                    if web is None and missing is None and not _is_bare_id(written):
                        missing = uri, path
            if web is not None:
                reasons.append(_on_the_web(name, self._bases[0]))
        # A file that is not there (any more) may be known to the store; whoever reads it hears that it is missing.
        return missing or (reasons[0] if reasons else f"{names[0]!r} is no file's name; the image cannot be found")

    def _inside(self, name: str) -> tuple[str, Path] | None:
        """An image that is a member of the archive itself."""
        if self._archive is None:
            return None
        member = str(PurePosixPath(self._top, name.replace("\\", "/")))
        if member not in self._archive.members:
            return None
        if self._unpacked is None:
            self._unpacked = self._unpack_images()
        return uri_of(self._path / member), self._unpacked / member

    def _unpack_images(self) -> Path:
        """Unpack everything but the tables. The files exist until the listing closes."""
        assert self._archive is not None
        folder = self._options.temporary.new()
        tables = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}
        names = [name for name in self._archive.members if name.removeprefix(f"{self._top}/") not in tables]
        self._archive.extract(folder, names)
        return folder


@contextmanager
def opened_files(path: Path, options: ListingOptions, beside: Sequence[str] = ()) -> Iterator[ArchiveFiles]:
    """The files of an archive; of a packed one the tables are unpacked for as long as this is open.

    Args:
        path: a folder, or a zip or tar file.
        options: where images may be.
        beside: other files that are wanted, where it has them.

    Raises:
        SourceError: if there is no meta.xml, or the archive is not safe to open.
    """
    if path.is_dir():
        yield ArchiveFiles(path, path, options)
        return
    with open_archive(path) as archive, tempfile.TemporaryDirectory(prefix="bioclip-archive-") as temporary:
        top = _top_of(list(archive.members), path)
        prefix = f"{top}/" if top else ""
        content = archive.open(f"{prefix}{META}").read(META_BYTES + 1)
        description = described(content, f"{META} of {path}")
        tables = {prefix + name for table in description.tables for name in table.names} | {
            prefix + name for name in beside
        }
        tables.add(prefix + description.metadata)
        archive.extract(Path(temporary), sorted({f"{prefix}{META}", *(tables & archive.members.keys())}))
        yield ArchiveFiles(Path(temporary, top), path, options, archive, top)


def holds_meta(path: Path) -> bool:
    """Whether a folder or a packed archive has a meta.xml that looks like Darwin Core's; little of it is read."""
    try:
        if path.is_dir():
            with (path / META).open("rb") as file:
                start = file.read(_LOOKED_AT).replace(b"\0", b"")
                return b"<archive" in start or not start.strip()  # an empty one is said to be that
        kind = archive_kind(path)
        if kind == "zip":
            with zipfile.ZipFile(path) as packed:
                return _has_meta(packed.namelist())
        if kind == "tar":
            with closing(TarReader(path)) as tar:
                # Name by name: one that is cut off behind its meta.xml is an archive too, and whoever opens it says so.
                return any(_has_meta([name]) for name in tar.first_names(_LOOKED_AT // 512, _PASSED_OVER))
    except (zipfile.BadZipFile, NotImplementedError, *FAULTS):
        return False
    return False


def _has_meta(names: Sequence[str]) -> bool:
    parts = [PurePosixPath(name.replace("\\", "/")).parts for name in names]
    return any(len(one) in (1, 2) and one[-1] == META for one in parts)


def _top_of(names: Sequence[str], path: Path) -> str:
    """The folder of meta.xml in the archive: none, or the one folder that everything is in."""
    if META in names:
        return ""
    tops = sorted({name.split("/", 1)[0] for name in names if name.count("/") == 1 and name.endswith(f"/{META}")})
    if len(tops) != 1:
        why = (
            f"{META} in {len(tops)} folders ({', '.join(tops)})"
            if tops
            else f"no {META}, which says what its tables hold"
        )
        raise SourceError(f"{path} has {why}: it is no Darwin Core archive")
    return tops[0]


def _names_of(name: str) -> list[str]:
    """What the file of an address may be called beside the archive: as it is, or as download tools name it."""
    if "://" not in name:
        return [name]
    parts = urlsplit(name)
    path = unquote(parts.path).strip("/")
    last = path.rsplit("/", 1)[-1]
    return [one for one in dict.fromkeys((last, path, f"{parts.netloc}/{path}")) if one and last]


def _on_the_web(name: str, base: Path) -> str:
    names = _names_of(name)
    beside = (
        f"download it to {base / names[0]}" if names else f"download it into {base} under the name that the table gives"
    )
    return f"the image {name} is on the web, and nothing is fetched: {beside}, or name its folder with --base-folder"


def _is_bare_id(name: str) -> bool:
    """Whether this is an identifier rather than a file: a UUID, a urn, a number."""
    return name.startswith("urn:") or ("/" not in name and "\\" not in name and "." not in name)
