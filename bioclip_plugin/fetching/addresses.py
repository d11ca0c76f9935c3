"""Addresses of images: checked, quoted once, and without passwords wherever they are shown."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urljoin, urlsplit

from bioclip_core.findings import shortened
from bioclip_plugin.fetching.errors import AddressError

MAX_CHARACTERS = 8_000
"""Limit of an address as it is requested, about what servers take."""
_SCHEMES = {"http": 80, "https": 443}
_PASSWORD = re.compile(r"(?<=//)[^/?#\s]*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PATH_TO_QUOTE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]+")
_QUERY_TO_QUOTE = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?%]+")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?|\[[0-9a-f:.]+\]")


@dataclass(frozen=True)
class Address:
    """An http or https address in the one form in which it is requested, looked up and recorded."""

    scheme: str
    host: str
    """Name in lower case and ASCII, or an IP address; IPv6 without brackets."""
    port: int
    target: str
    """Path and query, quoted."""

    @cached_property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _SCHEMES[self.scheme] else f":{self.port}")

    @cached_property
    def host_and_port(self) -> str:
        """Name of the host for messages, with a port that is not the usual one."""
        return self.origin.partition("//")[2]

    @cached_property
    def text(self) -> str:
        """The whole address."""
        return self.origin + self.target

    @cached_property
    def key(self) -> str:
        """Name of the address in the manifest."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def is_document(self) -> bool:
        """True if a JSON document is asked for instead of an image."""
        return False

    def following(self, location: str) -> Address:
        """Return the address that a redirect leads to.

        Raises:
            AddressError: if it leads to none that may be fetched.
        """
        try:
            joined = urljoin(self.text, location.strip())
        except ValueError as error:
            raise AddressError(f"redirected to an address that cannot be read ({error})") from None
        if host := _host_behind_password(joined):
            raise AddressError(
                f"redirected to an address with a user name or password in it ({host}), which is refused; tell the host, or download "
                "the image"
            )
        try:
            following = read_address(joined)
        except AddressError as error:
            raise AddressError(f"redirected to an address that is refused: {error}") from None
        if self.scheme == "https" and following.scheme == "http":
            raise AddressError(f"redirected from https to http ({following.host_and_port}), which is refused")
        return following


class DocumentAddress(Address):
    """Address of a JSON document, such as the description of an image service. Its record is not that of an image."""

    @cached_property
    def key(self) -> str:
        """Name of the address in the manifest."""
        return hashlib.sha256(f"document {self.text}".encode()).hexdigest()

    @property
    def is_document(self) -> bool:
        return True


def shown(text: str) -> str:
    """Return an address as it may be printed and stored: without user name and password, and not too long."""
    return shortened(_PASSWORD.sub("", text.strip()))


def _host_behind_password(text: str) -> str:
    """Return the host of an address with a user name or password in it; empty for other addresses."""
    found = _PASSWORD.search(text.partition("?")[0])
    return re.split(r"[/?#]", text[found.end() :])[0][:100] if found else ""


def read_address(text: str) -> Address:
    """Return an address that may be requested.

    Raises:
        AddressError: with the reason; the address is not part of it.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise AddressError(f"the address has {len(text):,} characters; at most {MAX_CHARACTERS:,} are fetched")
    if _CONTROL.search(text):
        raise AddressError("the address has a line break or another control character in it")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme not in _SCHEMES or not colon or not rest.startswith("//"):
        known = f"{scheme}: addresses are" if colon and re.fullmatch(r"[a-z][a-z0-9+.-]{0,20}", scheme) else "this is"
        raise AddressError(f"{known} not fetched; an address of an image begins with https:// or http://")
    try:
        parts = urlsplit(f"{scheme}:{rest}".replace("\\", "%5C"))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AddressError("the address cannot be read: its host or port is malformed") from None
    if "@" in parts.netloc:
        raise AddressError(
            "the address has a user name or password in it, which would be written into results; remove it from the table"
        )
    if port == 0:
        raise AddressError("the address has the port 0, which no host has")
    path = _quoted(_PATH_TO_QUOTE, parts.path or "/")
    target = path + (f"?{_quoted(_QUERY_TO_QUOTE, parts.query)}" if parts.query else "")
    if len(target) > MAX_CHARACTERS:
        raise AddressError(
            f"the address has {len(target):,} characters as it is escaped; at most {MAX_CHARACTERS:,} are fetched"
        )
    return Address(scheme, _ascii_host(host), port or _SCHEMES[scheme], target)


def _quoted(to_quote: re.Pattern[str], text: str) -> str:
    """Quote the characters that may not stand in an address; what is quoted already stays."""
    return to_quote.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def _ascii_host(host: str) -> str:
    """Return the name of a host as it is looked up.

    Raises:
        AddressError: for a name that no host can have.
    """
    name = host.lower()
    if ":" in name:  # IPv6, which urlsplit takes out of its brackets
        if "%" in name:
            raise AddressError("the address has an IPv6 zone in it, which is of this machine's network; it is refused")
    elif not name.isascii():
        name = _idna(name)
    name = name.rstrip(".") if name.rstrip(".") else ""
    if not name:
        raise AddressError("the address has no host")
    if len(name) > 253 or ".." in name or not (_HOST.fullmatch(name) or ":" in name):
        raise AddressError("the address has a host name that no host can have")
    return name


def _idna(name: str) -> str:
    try:
        import idna  # comes with the client of the model hub; knows today's rules
    except ImportError:
        try:
            return name.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise AddressError("the address has a host name that cannot be written in ASCII") from None
    try:
        return idna.encode(name, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise AddressError("the address has a host name that cannot be written in ASCII") from None
