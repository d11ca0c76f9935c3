"""The result store: there, readable, writable, whole, and of which version. It is not changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bioclip_core.errors import StoreError
from bioclip_core.next_commands import command
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.report import Fact, Finding, Problem, Step

USUAL = "bioclip.db"
"""Store of a command without ``--store``."""


def look(options: DoctorOptions, _without: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield kind, version, rights and state of the store."""
    address = options.store or (USUAL if Path(USUAL).is_file() else None)
    if address is None:
        yield Fact("store", "none given, and no bioclip.db in the working directory")
        return
    yield Step("opening the store", code="store.no-answer")
    from bioclip_plugin.store.looking import look_at

    yield Step("reading the store", code="store.no-answer")
    try:  # shorter than the limit of this step, so that a slow server or a large file is described
        found = look_at(address, patience_s=options.patience * 0.4)
    except StoreError as error:
        text, _, advice = str(error).partition(": ")
        yield Problem("store.unreachable", text, "", advice)
        return
    yield Fact("store", found.address)
    yield Fact("kind", found.kind)
    yield Fact("database_version", found.server)
    yield Fact("tables_version", found.version)
    yield Fact("tables_version_of_this_program", found.head)
    if found.bytes is not None:
        yield Fact("size_bytes", found.bytes)
    yield Fact("log_bytes", found.log_bytes)
    yield Fact("file_system", found.file_system or "local")
    yield Fact("whole", found.whole)
    yield Fact("written_by_another_program", found.is_locked)
    for fault in found.faults:
        yield Problem(
            f"store.{fault.code}",
            fault.found,
            fault.meaning,
            _advice(fault.code, fault.advice, found.address),
            fault.is_grave,
        )


def _advice(code: str, advice: str, address: str) -> str:
    if code == "old":
        return f"make a copy, then: {command('store upgrade', store=address)}"
    return advice
