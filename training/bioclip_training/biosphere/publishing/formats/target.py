"""The folder of one written collection, and the bytes of the plan's pictures as they go into it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bioclip_training.biosphere.publishing.pictures import spoilt
from bioclip_training.biosphere.publishing.plan import Plan, Record


class Target:
    """A new folder of one collection."""

    def __init__(self, plan: Plan, pictures: Path, folder: Path) -> None:
        """Begin with an empty folder, in place of one that an interrupted call left.

        Args:
            plan: the whole rendering.
            pictures: folder of the finished pictures.
            folder: that of the collection.
        """
        self.plan = plan
        self.folder = folder
        self._pictures = pictures
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def suffix(self, picture: int) -> str:
        return self.plan.pictures[picture].suffix

    def picture(self, number: int) -> bytes:
        """Return the bytes of a picture."""
        return (self._pictures / self.plan.pictures[number].path).read_bytes()

    def content(self, record: Record) -> bytes | None:
        """Return the bytes of a record's file, and note their sha256; None for a row without a file."""
        if record.state == "missing":
            return None
        content = self.picture(record.picture)
        if record.state in ("short", "empty", "html"):
            content = spoilt(content, record.state)
        record.sha256 = hashlib.sha256(content).hexdigest()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the collection."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def image(self, record: Record, name: str) -> None:
        """Write a record's file under a name, unless its row has none, and note the name."""
        record.uri = name
        content = self.content(record)
        if content is not None:
            self.write(name, content)

    def table(
        self, name: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, separator: str = ","
    ) -> None:
        """Write a table; with tabs nothing is quoted, as in the files of GBIF and EOL."""
        buffer = io.StringIO()
        if separator == "\t":
            for row in (header, *rows):
                buffer.write("\t".join(str(cell).replace("\t", " ") for cell in row) + "\n")
        else:
            csv.writer(buffer, delimiter=separator, lineterminator="\n").writerows([header, *rows])
        self.write(name, buffer.getvalue().encode("utf-8"))

    def document(self, name: str, value: Any) -> None:
        """Write a JSON document."""
        self.write(name, (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8"))


def rows_of(records: Iterable[Record]) -> list[Record]:
    """Return the records with a row, those with a doubled row twice in a row."""
    return [record for record in records if record.state != "unlisted" for _ in range(2 if record.doubled else 1)]
