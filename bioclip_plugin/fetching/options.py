"""Options of fetching images by address."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options


def _check_contact(contact: str) -> None:
    """Refuse a contact that cannot stand in a header of HTTP."""
    if not re.fullmatch(r"[!-'*-~ ]{0,200}", contact):
        raise UsageError(
            f"fetch_contact {contact!r}: give an e-mail address or a web address in plain ASCII, without parentheses"
        )


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Manners and limits of fetching images by address."""

    fetch_contact: str = field(default="", metadata={"check": _check_contact, "metavar": "CONTACT"})
    """E-mail or web address that the hosts of images find in the User-Agent, so that they can write before they block."""
    fetch_private: bool = False
    """Fetch from addresses of private networks and of this machine too, for example a museum's own image server."""
    fetch_per_host: int = field(default=2, metadata={"low": 1, "high": 64})
    """Requests to one host at the same time."""
    fetch_rate: float = field(default=5.0, metadata={"above": 0, "high": 10_000})
    """Requests per second to one host."""
    fetch_connections: int = field(default=32, metadata={"low": 1, "high": 256})
    """Requests to all hosts at the same time."""
    fetch_tries: int = field(default=5, metadata={"low": 1, "high": 20})
    """Requests for one image before it is a failure, where the host may answer better later (429, 503, a broken connection)."""
    fetch_max_mb: int = field(default=500, metadata={"low": 1, "high": 1_000_000})
    """Largest image in megabytes; a longer one is a failure as soon as the limit is reached."""
    fetch_connect_timeout: float = field(default=15.0, metadata={"above": 0, "high": 3_600})
    """Seconds until a host must have accepted the connection."""
    fetch_silence: float = field(default=30.0, metadata={"above": 0, "high": 3_600})
    """Seconds for which a host may send nothing."""
    fetch_time_limit: float = field(default=600.0, metadata={"above": 0, "high": 86_400})
    """Seconds that one request may take in all."""
    fetch_longest_wait: float = field(default=300.0, metadata={"above": 0, "high": 86_400})
    """Seconds to wait for a host that asks for it (Retry-After); one that asks for more is given up for that time."""
    fetch_host_failures: int = field(default=10, metadata={"low": 1, "high": 10_000})
    """Failed requests in a row without an answer after which a host is given up for ten minutes, so that its other images fail at once;
    ten times as many if it answers, but without an image (403, 500)."""
    fetch_again: bool = False
    """Ask the hosts for images that are in the folder already; unchanged ones are not sent again where the host can tell."""

    def __post_init__(self) -> None:
        check_options(self)
