"""Locale, encodings, clock and time zones."""

from __future__ import annotations

import locale
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bioclip_core.next_commands import command
from bioclip_core.process import system
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.report import Fact, Finding, Problem

_VARIABLES = ("LC_ALL", "LC_CTYPE", "LANG")
_LIMIT_S = 5
_DAY_S = 86_400


def look(_options: DoctorOptions) -> Iterator[Finding]:
    """Yield locale, encodings, clock and time zone."""
    language = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    yield Fact("locale_variables", language)
    output = getattr(sys.stdout, "encoding", None)
    yield Fact("output_encoding", output)
    yield Fact("file_name_encoding", sys.getfilesystemencoding())
    yield Fact("text_encoding", locale.getpreferredencoding(False))
    yield Fact("utf8_mode", bool(sys.flags.utf8_mode))
    if language and not _is_known_locale():
        yield Problem(
            "language.unknown-locale",
            f"this machine does not know the locale {', '.join(f'{name}={value}' for name, value in language.items())}",
            "programs fall back to ASCII, and some refuse to start",
            "set one that `locale -a` lists, for example: export LC_ALL=C.UTF-8",
            grave=False,
        )
    if output is not None and not _is_utf8(output):
        yield Problem(
            "language.output-encoding",
            f"the terminal or pipe takes {output}",
            "letters that it lacks are printed as escapes such as \\xe9; files are not affected",
            "set PYTHONUTF8=1 (and on Windows: chcp 65001)",
            grave=False,
        )
    if not _is_utf8(sys.getfilesystemencoding()):
        yield Problem(
            "language.file-names",
            f"file names are read as {sys.getfilesystemencoding()}",
            "names with other letters are shown with escapes, and differ from those of other machines",
            "set PYTHONUTF8=1",
            grave=False,
        )
    yield from _clock()
    yield from _time_zones()


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "").replace("_", "") == "utf8"


def _is_known_locale() -> bool:
    """Return True if the system knows the locale; asked in another process, since asking changes the one that asks."""
    if not sys.executable or system.is_windows():
        return True
    with suppress(OSError, subprocess.SubprocessError):
        asked = [sys.executable, "-I", "-S", "-c", "import locale; locale.setlocale(locale.LC_ALL, '')"]
        return subprocess.run(asked, capture_output=True, timeout=_LIMIT_S, check=False).returncode == 0
    return True


def _clock() -> Iterator[Finding]:
    now = datetime.now(UTC)
    yield Fact("clock_utc", f"{now:%Y-%m-%d %H:%M}")
    with suppress(OSError):
        installed_at = Path(__file__).stat().st_mtime
        if now.timestamp() < installed_at - _DAY_S:
            yield Problem(
                "language.clock",
                f"the clock says {now:%Y-%m-%d}, and bioclip-plugin was installed on {datetime.fromtimestamp(installed_at, UTC):%Y-%m-%d}",
                "certificates of servers are refused, and results get wrong dates",
                "set the clock",
            )


def _time_zones() -> Iterator[Finding]:
    given = os.environ.get("TZ")
    yield Fact("time_zone", given if given is not None else _of_system())
    yield Fact("time_zone_names", list(dict.fromkeys(time.tzname)))
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo("Europe/Brussels")
    except Exception:  # also a broken package tzdata
        yield Problem(
            "language.no-time-zones",
            "the database of time zones is missing",
            f"times of cameras cannot be placed in a zone: {command('classify', 'PATHS', time_zone='Europe/Brussels')} is refused",
            "install it: pip install tzdata",
        )
        return
    if given and not _is_zone(given):
        yield Problem(
            "language.time-zone",
            f"TZ={given} is not a time zone of this machine",
            "the system takes UTC in its place, in logs and file times",
            "set TZ to a name such as Europe/Brussels, or unset it",
            grave=False,
        )


def _is_zone(name: str) -> bool:
    """Return True for a name of the database, a file, and the rule of POSIX (``CET-1CEST``)."""
    from zoneinfo import ZoneInfo

    if any(character.isdigit() for character in name) and "/" not in name:
        return True
    path = Path(name.removeprefix(":"))
    if path.is_absolute():
        return path.is_file()
    try:
        ZoneInfo(str(path))
    except Exception:
        return False
    return True


def _of_system() -> str | None:
    """Return the name of the system's time zone, if its file is a link into the database."""
    with suppress(OSError):
        _, _, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
        return name or None
    return None
