"""Write tests/store/written_by_0_1_0: ``python tests/store/make_old_stores.py POSTGRES_ADDRESS PG_DUMP``.

It was run once, with version 0.1.0, and is kept to show how the files came about: the stores must stay those of that version.
The database at the address must be empty.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import datetime, tzinfo
from pathlib import Path

from old_stores import CLASSIFY, EXPORTS, FIXTURE, classify, exported, exports, model, write_project

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.store.database import values


class Clock(datetime):
    """A clock that stands still, so that both stores have the same times."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Clock:
        """Return the moment at which both stores were written."""
        return cls(2025, 6, 1, 12, 0, 0, tzinfo=tz)


def call(*arguments: str, codes: tuple[int, ...] = (0,)) -> None:
    """Run a command in this process and check its exit code."""
    manager = create_plugin_manager(installed=False)
    manager.register(model())
    code = run(list(arguments), manager=manager)
    assert code in codes, (arguments, code)


def fill(store: str) -> None:
    """Do everything to a store that leaves rows in it."""
    for given in CLASSIFY:
        call(*classify(given, store), codes=(0, 3))
    call("rules", "apply", "--run", "2", "--rule", "thresholds:species=0.9,family=0.5", "--store", store)
    call("review", "import", "reviews.csv", "--run", "2", "--store", store)


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def main(postgres: str, pg_dump: str) -> None:
    """Write the stores, the labels and the expected exports."""
    platform.node, platform.platform = lambda: "field-laptop", lambda *_: "Linux"
    values.datetime = Clock  # type: ignore[misc]
    folder = Path(tempfile.gettempdir()) / "wolf-survey"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.rmtree(FIXTURE, ignore_errors=True)
    FIXTURE.mkdir()
    os.chdir(folder)
    write_project(folder)
    call("labels", "build", "taxa.csv", "--model", "fake", "--output", "labels")
    shutil.copytree("labels", FIXTURE / "labels")
    fill("results.db")
    fill(postgres)
    with closing(sqlite3.connect("results.db")) as connection:
        (FIXTURE / "sqlite.sql").write_text("\n".join(connection.iterdump()) + "\n", "utf-8")
    dump = subprocess.run(
        [pg_dump, "--inserts", "--no-owner", "--no-privileges", postgres.replace("+psycopg", "")],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    lines = [
        line for line in dump.splitlines() if line and not line.startswith(("\\", "--", "SET transaction_timeout"))
    ]
    (FIXTURE / "postgresql.sql").write_text("\n".join(lines) + "\n", "utf-8")
    for number, name, kind in exports():
        remove(folder / "output")
        call("export", "--run", str(number), "--store", "results.db", *EXPORTS[kind], "--output", "output")
        for file, text in exported(folder / "output").items():
            expected = FIXTURE / "expected" / name / kind / file if file else FIXTURE / "expected" / name / kind
            expected.parent.mkdir(parents=True, exist_ok=True)
            expected.write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
