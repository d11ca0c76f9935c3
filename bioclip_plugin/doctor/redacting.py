"""Secrets and user names taken out of texts, so that a report can be shown to anybody."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from bioclip_core.process import system

HIDDEN, USER = "***", "USER"

_SECRET_NAMES = re.compile(
    r"TOKEN(?!IZER)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|_KEY$|_AUTH$|_PASS_|(?<!ASK)PASS$|"
    r"(?<!^)(?<!^OLD)PWD",
    re.I,
)
"""Names of variables whose values are never shown."""
_SHORTEST, _SHORT_WORD = 4, 6
"""Characters below which a value is found in ordinary texts: any value, and one of letters or digits alone."""
_WORDS = frozenset(
    "admin bioclip camera classify client cuda database default demo detector device docker doctor export family guest localhost "
    "memory models museum packages password photos plugin plugins postgres postgresql precision psycopg python report results "
    "schema secret server service speciesnet sqlite sqlalchemy public species store torch version windows working".split()
)
"""Words of our reports that people have as passwords; taken out everywhere, they would make reports unreadable."""
_MOST = 4000
"""Characters of one text of a report."""
_USERINFO = re.compile(r"(?<=://)(?:[^\s]*@|[^\s/\"@]*:(?!\d+/)[^\"\n]*@)")
"""User and password of an address: up to the last @, since people do not escape the @, the / and the blanks of a password."""
_PASSWORD = re.compile(r"://[^:/@]*:(.+)@", re.S)
_SECRET_KEY = (
    r"[\w\-]*(?:password|passwd|passphrase|pwd|token|secret|api[_-]?key|access[_-]?key|signature|credential)[\w\-]*"
)
_PARAMETERS = re.compile(rf"(?P<before>[?&]{_SECRET_KEY}=)(?P<value>[^&\n]+)", re.I)
"""Secrets among the parameters of an address: up to the next &, since people do not escape commas, quotes and blanks either."""
_PARAMETER_OF_ADDRESS = re.compile(rf"[?&]{_SECRET_KEY}=([^&]+)", re.I)
_PAIRS = re.compile(
    rf"(?<![\w\-])(?P<name>{_SECRET_KEY})(?P<sign>\s{{0,9}}=\s{{0,9}}|[\"']?:\s{{0,9}})"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s&;,\"']+)",
    re.I,
)
_TOKENS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{8,}|gh[a-z]_[A-Za-z0-9]{8,}|github_pat_\w{8,}|glpat-[\w\-]{8,}|sk-[\w\-]{8,}|xox[a-z]-[\w\-]{8,}|"
    r"pypi-[\w\-]{16,}|A[KS]IA[A-Z0-9]{12,}|eyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*)|(?<=Bearer )\S+|(?<=Basic )\S{8,}",
)
_OTHER_HOMES = re.compile(r"((?<![\w.~-])/(?:home|Users)/|[A-Za-z]:[\\/]+Users[\\/]+)([^\\/\n\"':;,|]+)")
_NOT_NAMES = frozenset({"root", "Shared", "Public", "Default", "runner", USER})
"""Folders and users that name nobody."""


class Redactor:
    """A function from texts to texts that show neither secrets nor who made them."""

    def __init__(self, homes: Iterable[str], users: Iterable[str], secrets: Iterable[str]) -> None:
        """Set up.

        Args:
            homes: the user's home folder, in all its spellings.
            users: the user's login names.
            secrets: values that never appear.
        """
        given = {one for one in secrets if one.strip()}
        self._secrets = _longest_first(form for one in given if not _is_ordinary(one) for form in _forms(one))
        ordinary = "|".join(map(re.escape, _longest_first(filter(_is_ordinary, given))))
        self._ordinary = re.compile(rf"(?<==)(?:{ordinary})(?!\w)|(?<=:)(?:{ordinary})(?=@)") if ordinary else None
        flags = re.I if system.is_windows() else 0
        folders = sorted({home.rstrip("/\\") for home in homes if len(home.rstrip("/\\")) > 2}, key=len, reverse=True)
        self._home = (
            re.compile("|".join(f"{re.escape(one)}(?![\\w.\\-])" for one in folders), flags) if folders else None
        )
        wanted = sorted((name for name in set(users) - _NOT_NAMES if len(name) > 1), key=len, reverse=True)
        name = f"(?:{'|'.join(map(re.escape, wanted))})"
        # As part of a path or address, or in the quotation marks of a database's message: never inside of a word.
        places = (rf"(?<=[/\\]){name}(?=[/\\@:\s\"']|$)", rf"(?<=[\"']){name}(?=[\"'])", rf"\b{name}(?=@)")
        self._user = re.compile("|".join(places), flags) if wanted else None

    @classmethod
    def of_process(cls, environment: Mapping[str, str] | None = None, *addresses: str) -> Redactor:
        """Return the one for this process: its home folder, its user, and the secrets in its environment and in addresses."""
        given = os.environ if environment is None else environment
        homes = [given[name] for name in ("HOME", "USERPROFILE") if given.get(name)]
        users = [given[name] for name in ("LOGNAME", "USER", "LNAME", "USERNAME") if given.get(name)]
        with suppress(Exception):  # a user without an entry, as in a container started with a number
            users.append(getpass.getuser())
        with suppress(Exception):
            import pwd

            entry = pwd.getpwuid(os.getuid())
            users.append(entry.pw_name)
            homes.append(entry.pw_dir)
        for home in list(homes):
            with suppress(OSError, RuntimeError, ValueError):
                homes.append(str(Path(home).resolve()))
        secrets = [value for name, value in given.items() if is_secret(name)]
        for address in addresses:
            found = _PASSWORD.search(address)
            for password in [*([found[1]] if found else []), *_PARAMETER_OF_ADDRESS.findall(address)]:
                secrets += [password, unquote(password), unquote_plus(password)]
        return cls(homes, users, secrets)

    def __call__(self, text: str) -> str:
        """Return the text without secrets and user names."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        if len(text) > _MOST:
            text = _shortened(text)
        if self._ordinary is not None:
            text = self._ordinary.sub(HIDDEN, text)
        text = _USERINFO.sub(f"{HIDDEN}@", text)
        text = _PARAMETERS.sub(lambda found: f"{found['before']}{HIDDEN}", text)
        text = _PAIRS.sub(
            lambda found: f"{found['name']}{found['sign']}{HIDDEN}" if _holds(found["value"]) else found[0], text
        )
        text = _TOKENS.sub(HIDDEN, text)
        if self._home is not None:
            text = self._home.sub("~", text)
        text = _OTHER_HOMES.sub(lambda found: found[1] + (found[2] if found[2] in _NOT_NAMES else USER), text)
        return self._user.sub(USER, text) if self._user is not None else text


def is_secret(name: str) -> bool:
    """Return True for the name of a variable whose value is never shown."""
    return _SECRET_NAMES.search(name) is not None and not ("FILE" in name.upper() and "PASS" in name.upper())


def _is_ordinary(secret: str) -> bool:
    """Return True for a secret that is found in ordinary texts: it is taken out only where it stands as a value."""
    return (
        len(secret) < _SHORTEST
        or (len(secret) < _SHORT_WORD and (secret.isalpha() or secret.isdigit()))
        or secret.lower() in _WORDS
    )


def _forms(secret: str) -> set[str]:
    """Return a secret as addresses, Python and JSON write it."""
    return {secret, quote(secret, safe=""), quote(secret, safe=" +"), quote_plus(secret), repr(secret)[1:-1],
            json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}  # fmt: skip


def _longest_first(texts: Iterable[str]) -> list[str]:
    return sorted(set(texts), key=lambda text: (-len(text), text))


def _shortened(text: str) -> str:
    """Return the beginning of a text; the last address in it may have lost the @ that ends its password, and is left out."""
    before, separator, _ = text[:_MOST].rpartition("://")
    return f"{f'{before}://{HIDDEN}' if separator else text[:_MOST]}... ({len(text):,} characters)"


def _holds(value: str) -> bool:
    """Return False for words that stand beside such a name in ordinary sentences: "HF_TOKEN: set"."""
    return value.strip("'\"").lower() not in {"set", "unset", "not", "yes", "no", "true", "false", "none", "", HIDDEN}
