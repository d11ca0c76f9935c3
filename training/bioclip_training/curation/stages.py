"""What a stage of curation is, and what it is given: folders, parts that are whole or absent, and a tally of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import parquet

from bioclip_core.files.whole import replacing_file
from bioclip_core.progress import Progress, silent
from bioclip_training.curation.columns import KEY
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.manifests import PartRecord, part_file, write_record
from bioclip_training.curation.tallies import Tally

ROW_GROUP = 65_536
"""Rows of a row group: a reader of a part holds no more at once."""


class Stage(Protocol):
    """One stage of curation. Its result is a function of its settings, its inputs and the results of the stages that it needs."""

    @property
    def name(self) -> str:
        """Name of the stage and of its folder in the output."""

    @property
    def version(self) -> int:
        """Number that grows with every change of the stage that may change its result."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages whose results it reads."""

    def settings(self, config: Curation) -> dict[str, Any]:
        """Return the settings that decide its result, as plain JSON values; no folders of this machine, no threads, no memory."""

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        """Return the files and folders that it reads besides results of other stages, by a name for messages (``source eol``)."""

    def check(self, config: Curation) -> None:  # noqa: ARG002
        """Refuse inputs that cannot be used, as far as names and first rows say; it is called before the first stage is run.

        Raises:
            BioclipError: for the first one, with what to do.
        """
        return

    def run(self, work: StageWork) -> None:
        """Write the parts that are not finished yet.

        The parts must not depend on the order of sources, rows, files or threads: rows are sorted by key, whatever is drawn
        is a hash of keys, and every part has a name that follows from the data.
        """


@dataclass(frozen=True, slots=True)
class StageWork:
    """What a stage is given to work with."""

    folder: Path
    """Folder of the stage's parts."""
    before: Mapping[str, Path]
    """Folders of the finished stages, by name."""
    config: Curation
    temporary: Path
    """Empty folder for scratch files; it is removed when the stage ends, however it ends."""
    kept: Path
    """Folder that survives changes of settings, for work that is worth keeping, such as hashes by content. Results do not depend on it."""
    threads: int
    memory: int
    """Bytes that the stage may use, its libraries and threads included."""
    tally: Tally = field(default_factory=Tally)
    """Counts of the whole stage, which every call of ``run`` makes anew; counts about the rows of a part belong to the part's tally."""
    progress: Progress = silent
    others: dict[str, str] = field(default_factory=dict)
    """The files that :meth:`keep` was called for, with their sha256 if it is known."""

    def parts_of(self, stage: str) -> list[Path]:
        """Return the parts of a finished stage in order. Stages with a row per record share the names of their parts."""
        return sorted(self.before[stage].glob(part_file("*")))

    def is_finished(self, name: str) -> bool:
        """True if a part was finished, by this call or by an earlier one that was interrupted."""
        return PartRecord.place(self.folder, name).exists()

    @contextmanager
    def part(self, name: str, schema: pa.Schema) -> Iterator[Part]:
        """Give a part to write. It and its tally are kept whole when the block ends, and not at all if it fails.

        Several threads may write parts at once.

        Args:
            name: a text of letters, digits, ``_`` and ``-``; most stages name their parts as those of the stage before.
            schema: columns of the part.
        """
        assert not self.is_finished(name), f"the part {name} is finished"
        file = self.folder / part_file(name)
        with replacing_file(file) as draft:
            part = Part(draft, schema)
            with part:
                yield part
        write_record(self.folder, name, PartRecord.of(file, part.rows, part.tally))

    def keep(self, name: str, sha256: str = "") -> None:
        """Have a file of the stage's folder that is not a part, such as a document, belong to the result.

        Args:
            name: of the file.
            sha256: of its bytes, if it is known.
        """
        self.others[name] = sha256


class Part:
    """A part that is being written: rows in row groups of a fixed size, however they are cut into batches."""

    def __init__(self, draft: Path, schema: pa.Schema) -> None:
        self.tally = Tally()
        """Counts about the rows of this part; they are kept with it."""
        self.rows = 0
        self._schema = schema
        self._draft = draft
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._last_key = ""

    def __enter__(self) -> Part:
        self._writer = parquet.ParquetWriter(self._draft, self._schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and (self._waiting_rows or not self.rows):
                self._write(self._waiting_rows)
        finally:
            self._writer.close()

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows, sorted by key within the part.

        Args:
            rows: columns of the part's schema in any order; types are cast to those of the schema.
        """
        table = pa.table({name: rows[name] for name in self._schema.names}).cast(self._schema)
        self._check_order(table)
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self.rows += table.num_rows
        while self._waiting_rows >= ROW_GROUP:
            self._write(ROW_GROUP)

    def _check_order(self, table: pa.Table) -> None:
        import pyarrow.compute as pc

        if KEY not in table.column_names or not table.num_rows:
            return
        keys = table[KEY].combine_chunks()
        ordered = pc.all(pc.less_equal(keys[:-1], keys[1:])).as_py() if len(keys) > 1 else True
        assert ordered, "the rows of a part are sorted by key"
        assert self._last_key <= keys[0].as_py(), "the rows of a part are sorted by key"
        self._last_key = keys[-1].as_py()

    def _write(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=ROW_GROUP)
        rest = table.slice(rows)
        self._waiting, self._waiting_rows = ([rest], rest.num_rows) if rest.num_rows else ([], 0)


def name_of_part(path: Path) -> str:
    """Return the name of a part from its file."""
    return path.stem.removeprefix("part-")
