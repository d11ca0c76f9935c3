"""Plans of the queries of each command, as the database makes them, and the tables that a query reads as a whole."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from bioclip_plugin import cli
from bioclip_plugin.store import Store

COMMANDS = {
    "runs list": "runs list",
    "runs show": "runs show",
    "runs verify": "runs verify",
    "store info": "store info",
    "review list": "review list",
    "rules apply": "rules apply --rule sequences",
    "export csv": "export --format csv --output {out}/all.csv",
    "export csv, one taxon": "export --format csv --taxon Nothing --output {out}/one.csv",
    "runs delete --dry-run": "runs delete 1 --dry-run",
    "store compact --dry-run": "store compact --dry-run",
}
Query = tuple[str, Any]


@contextmanager
def queries() -> Iterator[list[Query]]:
    """Collect the statements that read or change rows, with their parameters."""
    seen: dict[str, Query] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        text = " ".join(statement.split())
        shape = re.sub(r"\((\?|%\([^)]*\)s(::\w+)?)(, (\?|%\([^)]*\)s(::\w+)?))*\)", "(…)", text)
        if re.match(r"(SELECT|WITH|DELETE|UPDATE) ", text) and "bioclip_" in text and not many:
            seen.setdefault(shape, (text, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    found: list[Query] = []
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        found += seen.values()


def plan(connection: Connection, query: Query) -> list[str]:
    """Return the lines of a query's plan."""
    if connection.dialect.name == "sqlite":
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query[0]}", query[1])]
    return [row[0] for row in connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) {query[0]}", query[1])]


def scanned(lines: Sequence[str]) -> list[str]:
    """Return the tables that a plan reads from end to end."""
    found = [re.match(r"SCAN (bioclip_\w+)$", line) for line in lines]
    found += [re.search(r"Seq Scan on (bioclip_\w+)", line) for line in lines]
    return sorted({match[1].removeprefix("bioclip_") for match in found if match})


def explain(address: str, commands: Sequence[str] | None = None) -> None:
    """Run commands on a store and print the plans of their queries."""
    with tempfile.TemporaryDirectory() as out:
        for name, words in COMMANDS.items():
            if commands and name not in commands:
                continue
            with queries() as seen, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                cli.run([*(word.format(out=out) for word in words.split()), "--store", address])
            print(f"\n## {name}\n")
            with Store.open(address, create=False) as store:
                for query in seen:
                    lines: list[str] = []
                    with suppress(Exception):  # of a temporary table that is gone
                        lines = store._database.read(plan, query)
                    mark = f"   ← reads all of {', '.join(scanned(lines))}" if scanned(lines) else ""
                    print(f"{query[0][:200]}{mark}")
                    print("".join(f"    {line}\n" for line in lines), end="")


def main() -> None:
    import sys

    explain(sys.argv[1], sys.argv[2:])


if __name__ == "__main__":
    main()
