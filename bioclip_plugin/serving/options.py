"""Options of the server; importing them imports no web framework."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where the server listens, who may use it, and how much one request may ask for."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 lets other machines in."""
    port: int = field(default=8710, metadata={"low": 0, "high": 65_535})
    """Port to listen at; 0 takes any that is free."""
    allowed_hosts: tuple[str, ...] = field(default=(), metadata={"flag": "--allowed-host"})
    """Name under which other machines reach this one."""
    media_roots: tuple[str, ...] = field(default=(), metadata={"flag": "--media-root"})
    """Folder whose images may be classified and shown by their number in the store."""
    read_only: bool = False
    """Change nothing in the store."""
    token_file: Path | None = None
    """File that holds the token of programs; it is made with a new token if it does not exist."""
    no_token: bool = False
    """Let every program and user of this machine in without a token."""
    max_upload_mb: int = field(default=64, metadata={"low": 1, "high": 2048})
    """Largest image in megabytes that is taken as an upload."""
    max_megapixels: int = field(default=100, metadata={"low": 1, "high": 1000})
    """Largest image in megapixels that is taken as an upload."""
    max_waiting: int = field(default=256, metadata={"low": 1, "high": 100_000})
    """Number of images that may wait for the model; further ones are asked to come again."""

    def __post_init__(self) -> None:
        for name in ("allowed_hosts", "media_roots"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_options(self)
        if self.no_token and self.token_file is not None:
            raise UsageError("--no-token and --token-file contradict each other: leave out one of them")
        if self.no_token and not self.is_loopback:
            raise UsageError(
                f"--no-token with --host {self.host}: every machine in the network could use the server; leave out one of them"
            )

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return True for a name or an address of this machine that no other machine can reach."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
