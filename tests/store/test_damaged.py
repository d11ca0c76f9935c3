"""Damaged stores: cut, overwritten, with rows that lead nowhere: every command ends in one line, or with correct results."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from old_stores import classify, model, restore, write_project
from sqlalchemy import create_engine, text

from bioclip_core.errors import StoreError
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.store import Store
from bioclip_plugin.store.database.address import parse_address

ADVICE = "restore it from a backup; without one, `sqlite3 FILE 'PRAGMA integrity_check'`"
COMMANDS = (
    ("runs", "list"),
    ("runs", "verify", "2"),
    ("export", "--run", "2", "--format", "csv", "--output", "o.csv", "--force"),
    ("review", "list"),
    ("rules", "apply", "--run", "1", "--rule", "unknown"),
    tuple(classify(("photos",), "damaged.db")[:-2]),
)

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Command line in the project's folder, as a function that returns the exit code and the error output."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    manager = create_plugin_manager(installed=False)
    manager.register(model())

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        return run(list(arguments), manager=manager), capsys.readouterr().err

    return call


def test_commands_on_damaged_stores_end_in_one_line(call: Call) -> None:
    restore("good.db")
    Store.open("good.db").close()
    good, file, chance = Path("good.db").read_bytes(), Path("damaged.db"), random.Random(11)
    for cut in (100, 4096, 70_000, len(good) - 5000):
        _try_all(call, file, good[:cut])
    for _ in range(4):
        torn = bytearray(good)
        for _ in range(30):
            torn[chance.randrange(4096, len(torn))] = chance.choice(b'{}[]"\xff\x00a9')
        _try_all(call, file, bytes(torn))


def _try_all(call: Call, file: Path, content: bytes) -> None:
    for command in COMMANDS:
        for part in file.parent.glob("damaged.db*"):
            part.unlink()
        file.write_bytes(content)
        code, err = call(*command, "--store", str(file))
        assert (code, err.count("\n")) in [(0, 0), (1, 0), (1, 1), (3, 0)], (command, err)
        assert "unexpected" not in err
        assert "does not expect" not in err


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE bioclip_runs SET settings = '{\"a\":' WHERE id = 2",
        "UPDATE bioclip_runs SET begun_at = '2025-99-01' WHERE id = 2",
        "UPDATE bioclip_media SET captured_at = 'noon' WHERE captured_at IS NOT NULL",
        "UPDATE bioclip_candidates SET rank = rank + 99",
        "UPDATE bioclip_candidates SET taxon = 12345",
        "UPDATE bioclip_decisions SET trail = '[[['",
    ],
)
def test_rows_that_cannot_be_right_are_reported_as_damage(store_address: str, damage: str) -> None:
    restore(store_address)
    engine = create_engine(parse_address(store_address))
    with engine.begin() as connection:
        connection.execute(text(damage))
    engine.dispose()
    with Store.open(store_address, upgrade=True) as store, pytest.raises(StoreError) as refusal:
        list(store.items_of(store.run(2)))
    assert ADVICE in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_feature_that_is_not_finite_is_never_used(tmp_path: Path) -> None:
    file = tmp_path / "results.db"
    restore(str(file))
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE bioclip_features SET vector = x'007e007e007e'")
        sha256 = connection.execute("SELECT sha256 FROM bioclip_contents ORDER BY id LIMIT 1").fetchone()[0]
    with Store.open(file) as store, pytest.raises(StoreError, match="holds a value that cannot be read"):
        store.features(1, [(sha256, 0, (0, 0, 10000, 10000))])


@pytest.mark.parametrize("content", [b"%PDF-1.7 not a store" * 300, b"SQLite format 3\x00" + bytes(4080)])
def test_a_file_that_is_not_a_store_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "results.db"
    file.write_bytes(content)
    with pytest.raises(StoreError, match="is not an SQLite database: give another file") as refusal:
        Store.open(file, create=False)
    assert str(file) in str(refusal.value)
    assert file.read_bytes() == content
