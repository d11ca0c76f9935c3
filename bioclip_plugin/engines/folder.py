"""The work folder of a distributed run: its plan, its shards, who works on them, and which parts are there and loaded.

Everything in it is a small file that appears by a rename, or an empty file that marks something, so that it works on a network
file system too. A claim is a locked file, which ends with its program. Without locks (a network file system that is mounted
without them) two workers may do the same shard, which costs time only: a part is the same whoever writes it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError, DataError
from bioclip_core.files.documents import read_document
from bioclip_core.files.locks import lock
from bioclip_core.files.present import exists, is_folder
from bioclip_core.files.replacing import reason_of
from bioclip_core.files.whole import write_whole
from bioclip_plugin.store.database.values import to_json

FORMAT = 2
_PLAN, _SHARDS = "plan.json", "shards.tsv"
_FOLDERS = ("shards", "parts", "claims", "attempts", "loaded")


@dataclass(frozen=True)
class Plan:
    """The plan of a run: written when all of its shards are, so that workers never see half of it."""

    key: str
    """Identity of the run: its sources, model, labels and rules."""
    number: int
    """1, and one more each time that the finished run is continued."""
    run: int
    """Number of the run in its store."""
    created_at: str
    """Time at which the store made the run, which tells two stores apart."""
    feature_settings: Mapping[str, Any]
    answer_settings: Mapping[str, Any]
    rule_settings: Mapping[str, Any]
    settings: Mapping[str, Any]
    """The options of the run."""
    feature_id: str
    answer_id: str
    rule_id: str
    dimension: int
    images: int
    """Images in the shards."""
    already_done: int
    shards: int
    later: int = 0
    """Images that are listed again after an earlier place; they are answered after the shards."""
    read_again: bool = False
    """True if files are read again though the store knows them."""
    findings: list[list[Any]] = field(default_factory=list)
    """Findings of the listing: text, count, first example."""
    is_answered: bool = True
    """True when the images that are not in the shards are answered; until then the images are listed again."""
    is_finished: bool = False
    """True when the parts are loaded and the run is ended."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of the plan."""

    id: str
    images: int


class WorkFolder:
    """The files of one work folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    # The plan

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            DataError: if it holds other things, or cannot be written.
        """
        if exists(self.folder) and not is_folder(self.folder):
            raise DataError(f"the work folder {self.folder} is a file; give an empty or new folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            held = {entry.name for entry in self.folder.iterdir() if not entry.name.startswith(".")}
            others = sorted(held - {_PLAN, _SHARDS, "later.jsonl.gz", "driver.lock", *_FOLDERS})
            if others:
                raise DataError(
                    f"the work folder {self.folder} holds other things ({others[0]}); give an empty or new folder"
                )
            for name in _FOLDERS:
                (self.folder / name).mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(f"the work folder {self.folder} cannot be used: {reason_of(error, self.folder)}") from None

    def plan(self) -> Plan | None:
        """Return the plan, None before there is one.

        Raises:
            DataError: if it cannot be read, or another version wrote it.
        """
        path = self.folder / _PLAN
        if not exists(path):
            return None
        try:
            values = read_document(path, dict[str, Any], name="plan")
        except DataError as error:
            raise DataError(f"{error}; give a new work folder: what is loaded into the store stays") from None
        if values.get("format") != FORMAT:
            raise DataError(
                f"the plan {path} is of format {values.get('format')}, and this version has {FORMAT}: finish it with the version "
                "that made it, or give a new work folder"
            )
        try:
            return Plan(**values)
        except TypeError as error:
            raise DataError(f"the plan {path} cannot be used: {error}; give a new work folder") from None

    def is_planned(self) -> bool:
        """True if there is a plan that can be finished, so that nothing need be listed."""
        plan = self.plan()
        return plan is not None and self.is_at_work(plan) and not self.lost_lists(plan)

    @staticmethod
    def is_at_work(plan: Plan | None) -> bool:
        """True if there is a plan whose images are listed, and that is not finished."""
        return plan is not None and plan.is_answered and not plan.is_finished

    def lost_lists(self, plan: Plan) -> list[str]:
        """Return the names of lists of items that are still needed and were removed, or put aside since they are damaged."""
        there = {path.name for path in (self.folder / "shards").glob("*/*.jsonl.gz")}
        needed = [self.shard_file(shard.id) for shard in self.shards() if not self.is_loaded(shard.id)]
        lost = [path.name for path in needed if path.name not in there]
        return [*lost, self.later_file().name] if plan.later and not exists(self.later_file()) else lost

    def check_run(self, key: str) -> None:
        """Refuse a run while another one is not finished.

        Args:
            key: identity of the run.

        Raises:
            DataError: if the folder belongs to another run.
        """
        found = self.plan()
        if found is not None and found.key != key and not found.is_finished:
            raise DataError(
                f"the work folder {self.folder} belongs to another run, with other images, model, labels or rules, which is not "
                "finished: finish it, or give another --work-folder"
            )

    def write_plan(self, plan: Plan, shards: Iterable[Shard] | None = None) -> None:
        """Write the plan, after its shards."""
        with self.writing():
            if shards is not None:
                write_whole(self.folder / _SHARDS, "".join(f"{shard.id}\t{shard.images}\n" for shard in shards))
            write_whole(self.folder / _PLAN, to_json(vars(plan)))

    def shards(self) -> list[Shard]:
        """Return the shards of the plan, in the order of their images.

        Raises:
            DataError: if their list cannot be read.
        """
        path = self.folder / _SHARDS
        try:
            rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
            return [Shard(name, int(images)) for name, images in rows]
        except (OSError, ValueError) as error:
            raise DataError(f"the list of shards {path} cannot be read: {error}; give a new work folder") from None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Report an error of the system about a file of the folder.

        Raises:
            BioclipError: in place of the error: a full disk, a quota, a folder that may not be written.
        """
        try:
            yield
        except OSError as error:
            reason = reason_of(error, self.folder)
            raise BioclipError(
                f"the work folder {self.folder} cannot be written: {reason}; mend that, and give the same command again"
            ) from error

    # Files of shards

    def write_lines(self, path: Path, lines: Iterable[str]) -> None:
        """Write lines to a compressed file; the same lines give the same bytes."""
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=4) as packed:
            for line in lines:
                packed.write(line.encode("ascii") + b"\n")
        with self.writing():
            path.parent.mkdir(exist_ok=True)
            write_whole(path, buffer.getvalue())

    def lines(self, path: Path) -> list[str]:
        """Return the lines of such a file. A damaged one is put aside, so that the images are listed again.

        Raises:
            DataError: if it is missing, is damaged or cannot be read.
        """
        again = "give the same command where images are listed, which lists them again"
        try:
            return gzip.decompress(path.read_bytes()).decode("ascii").splitlines()
        except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
            with suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
            raise DataError(f"the list {path} is damaged, and was put aside ({error}): {again}") from None
        except FileNotFoundError:
            raise DataError(f"the list {path} is missing: {again}") from None
        except OSError as error:
            raise DataError(f"the list {path} cannot be read: {reason_of(error, path)}") from None

    def shard_file(self, shard: str) -> Path:
        """Return the file of a shard's items."""
        return self.folder / "shards" / shard[:2] / f"{shard}.jsonl.gz"

    def part_file(self, shard: str) -> Path:
        """Return the place of a shard's results."""
        return self.folder / "parts" / shard[:2] / f"part-{shard}.parquet"

    def later_file(self) -> Path:
        """Return the file of the items that are answered after the shards."""
        return self.folder / "later.jsonl.gz"

    def has_part(self, shard: str) -> bool:
        """True if the shard's part is whole."""
        return self.part_file(shard).exists()

    def with_parts(self) -> set[str]:
        """Return the ids of all parts that are there, by listing the folders."""
        return {path.stem.removeprefix("part-") for path in (self.folder / "parts").glob("*/part-*.parquet")}

    # Who works

    @contextmanager
    def claimed(self, shard: str) -> Iterator[bool | None]:
        """Claim a shard for the block. It is False if another living program has it, and None if the file system has no locks."""
        path = self.folder / "claims" / shard[:2] / shard
        with self._locked(path) as is_ours:
            yield is_ours

    @contextmanager
    def driven(self) -> Iterator[None]:
        """Keep other programs from planning and loading in this folder.

        Raises:
            DataError: if another one does.
        """
        with self._locked(self.folder / "driver.lock") as is_ours:
            if is_ours is False:
                raise DataError(f"another program plans or loads in the work folder {self.folder}; wait for its end")
            yield

    @contextmanager
    def _locked(self, path: Path) -> Iterator[bool | None]:
        """Lock a file for the block. It is False if another program has it, and None if the file system has no locks."""
        with self.writing():
            path.parent.mkdir(exist_ok=True)
            path.touch()
            file = os.open(path, os.O_RDWR)
        try:
            yield lock(file, exclusive=True)
        finally:
            os.close(file)

    # What is loaded

    def is_loaded(self, shard: str) -> bool:
        """True if the part was committed to the store."""
        return (self.folder / "loaded" / shard[:2] / shard).exists()

    def mark_loaded(self, shard: str) -> None:
        """Record that a part was committed."""
        path = self.folder / "loaded" / shard[:2] / shard
        with self.writing():
            path.parent.mkdir(exist_ok=True)
            path.touch()

    def forget_loaded(self, shards: Iterable[Shard]) -> None:
        """Have all parts loaded again."""
        for shard in shards:
            (self.folder / "loaded" / shard.id[:2] / shard.id).unlink(missing_ok=True)


def shard_id(key: str, number: int, lines: Iterable[str]) -> str:
    """Return the id of a shard: a hash of its run, of the number of the plan, and of its items as they are listed."""
    digest = hashlib.sha256(f"{FORMAT} {key} {number}\n".encode())
    for line in lines:
        digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()[:32]
