"""The files of a Darwin Core archive: its tables as a folder, and the places of its images."""

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

_LOOKED_AT = 1 << 16  # bytes of a file; of a tar file this many bytes of headers, which have 512 each
_PASSED_OVER = 64 << 20  # a larger member may have to be decompressed to reach the next header


class ArchiveFiles:
    """The folder of an archive's tables, and the search for its images."""

    def __init__(
        self, folder: Path, path: Path, options: ListingOptions, archive: Archive | None = None, top: str = ""
    ) -> None:
        self.folder = folder
        """Folder of meta.xml and the tables."""
        self._archive = archive
        self._path = path
        self._top = top
        self._unpacked: Path | None = None
        # The user's folder comes first, then the archive's own.
        self._bases = list(filter(None, (options.base_folder, path.parent if archive else path)))
        self._options = replace(options, base_folder=None)

    def find(self, names: Sequence[str]) -> tuple[str, Path] | str:
        """Return the uri and path of the image with one of these names, or the reason why it is not found.

        An address on the web stands for a file of that name beside the archive: nothing is fetched.
        """
        reasons: list[str] = []
        missing: tuple[str, Path] | None = None
        for name in names:
            is_web = "://" in name
            for written in _names_of(name):
                if inside := self._inside(written):
                    return inside
                for base in self._bases:
                    try:
                        uri, path = located(written, base, self._options)
                    except UsageError as error:
                        reasons.append(str(error))
                        continue
                    if os.path.isfile(path):  # noqa: PTH113 - Path's own raises for a name that is too long
                        return uri, path
                    if not is_web and not _is_bare_id(written):
                        missing = missing or (uri, path)
            if is_web:
                reasons.append(_on_the_web(name, self._bases[0]))
        # The store may know a file that no longer exists; reading it reports that it is missing.
        return missing or (
            reasons[0] if reasons else f"{names[0]!r} is not the name of a file; the image cannot be found"
        )

    def _inside(self, name: str) -> tuple[str, Path] | None:
        """Return an image that is a member of the archive itself."""
        member = str(PurePosixPath(self._top, name.replace("\\", "/")))
        if self._archive is None or member not in self._archive.members:
            return None
        if self._unpacked is None:
            # Everything but the tables, which exists until the listing closes.
            tables = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}
            images = [name for name in self._archive.members if name.removeprefix(f"{self._top}/") not in tables]
            self._unpacked = self._options.temporary.new()
            self._archive.extract(self._unpacked, images)
        return uri_of(self._path / member), self._unpacked / member


@contextmanager
def opened_files(path: Path, options: ListingOptions, beside: Sequence[str] = ()) -> Iterator[ArchiveFiles]:
    """Open an archive; the tables of a packed one are unpacked while this is open.

    Args:
        path: a folder, or a zip or tar file.
        options: for the places of images.
        beside: other files to unpack, if it has them.

    Raises:
        SourceError: if meta.xml is missing, or the archive is not safe to open.
    """
    if path.is_dir():
        yield ArchiveFiles(path, path, options)
        return
    with open_archive(path) as archive, tempfile.TemporaryDirectory(prefix="bioclip-archive-") as temporary:
        top = _top_of(list(archive.members), path)
        prefix = f"{top}/" if top else ""
        with archive.open(f"{prefix}{META}") as file:
            description = described(file.read(META_BYTES + 1), f"{META} of {path}")
        tables = (name for table in description.tables for name in table.names)
        wanted = {prefix + name for name in (META, description.metadata, *tables, *beside)}
        archive.extract(Path(temporary), sorted(wanted & archive.members.keys()))
        yield ArchiveFiles(Path(temporary, top), path, options, archive, top)


def holds_meta(path: Path) -> bool:
    """True if a folder or a packed archive has a meta.xml that looks like Darwin Core's; only little of it is read."""
    try:
        if path.is_dir():
            with (path / META).open("rb") as file:
                start = file.read(_LOOKED_AT).replace(b"\0", b"")
                return b"<archive" in start or not start.strip()  # an empty one is reported when it is read
        kind = archive_kind(path)
        if kind == "zip":
            with zipfile.ZipFile(path) as packed:
                return any(map(_is_meta, packed.namelist()))
        if kind == "tar":
            with closing(TarReader(path)) as tar:
                # Name by name: a file that is cut off behind its meta.xml is an archive too, and is reported when it is opened.
                return any(map(_is_meta, tar.first_names(_LOOKED_AT // 512, _PASSED_OVER)))
    except (zipfile.BadZipFile, NotImplementedError, *FAULTS):
        return False
    return False


def _is_meta(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return len(parts) in (1, 2) and parts[-1] == META


def _top_of(names: Sequence[str], path: Path) -> str:
    """Return the folder of meta.xml in the archive: none, or the one folder that holds everything."""
    if META in names:
        return ""
    tops = sorted({name.split("/", 1)[0] for name in names if name.count("/") == 1 and name.endswith(f"/{META}")})
    if not tops:
        raise SourceError(f"{path} is not a Darwin Core archive: it lacks {META}, which describes the tables of one")
    if len(tops) > 1:
        raise SourceError(
            f"{path} is not a Darwin Core archive: it has {META} in {len(tops)} folders ({', '.join(tops)})"
        )
    return tops[0]


def _names_of(name: str) -> list[str]:
    """Return the names that the file of an address may have beside the archive: as written, or as download tools write it."""
    if "://" not in name:
        return [name]
    parts = urlsplit(name)
    path = unquote(parts.path).strip("/")
    last = path.rsplit("/", 1)[-1]
    return list(dict.fromkeys((last, path, f"{parts.netloc}/{path}"))) if last else []


def _on_the_web(name: str, base: Path) -> str:
    names = _names_of(name)
    beside = f"to {base / names[0]}" if names else f"into {base} under the name in the table"
    return f"the image {name} is on the web, and nothing is fetched: download it {beside}, or name its folder with --base-folder"


def _is_bare_id(name: str) -> bool:
    """True for an identifier that is not a file: a UUID, a urn, a number."""
    return name.startswith("urn:") or ("/" not in name and "\\" not in name and "." not in name)
