"""IP addresses that belong to the public internet, and those that a name leads to."""

from __future__ import annotations

import ipaddress
import socket

from bioclip_plugin.fetching.errors import NotPublic, TryFailed

_PRIVATE_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
"""Loopback, private, link-local, shared by carriers (CGNAT), documentation, benchmarks, multicast, reserved. Written out, because
``ipaddress`` answers differently from one version of Python to the next."""
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_PRIVATE_6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Protocol assignments with Teredo, documentation, 6to4: tunnels to IPv4 addresses of any kind among them."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""The way from an IPv6-only network to an IPv4 address, which is in the last 32 bits."""

Found = tuple[socket.AddressFamily, str]
"""Family and number of an IP address."""


def is_public(number: str) -> bool:
    """True for an IP address of the public internet."""
    try:
        address = ipaddress.ip_address(number)
    except ValueError:  # with a zone, which only a link-local address has
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if address in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        return address in _GLOBAL_6 and not any(address in network for network in _PRIVATE_6)
    return not any(address in network for network in _PRIVATE_4)


def is_link_local(number: str) -> bool:
    """True for an IP address of the cable itself, where clouds give a machine its secrets."""
    try:
        address = ipaddress.ip_address(number)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_link_local(str(address.ipv4_mapped))
        if address in _NAT64:
            return is_link_local(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
    return address.is_link_local


def look_up(host: str, port: int, *, private: bool) -> list[Found]:
    """Return the IP addresses of a host, to be connected to as they are.

    Args:
        host: its name, or an IP address in any form that the system reads (``2130706433`` is 127.0.0.1).
        port: its port.
        private: allow addresses that are not public, except for link-local ones.

    Raises:
        TryFailed: if there are none, or one of them is not allowed (:class:`~bioclip_plugin.fetching.errors.NotPublic`).
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TryFailed(
            f"the name {host} cannot be looked up ({_reason(error)})", again=_may_pass(error), blames_host=True
        ) from None
    found: list[Found] = list(dict.fromkeys((answer[0], str(answer[4][0])) for answer in answers))
    if private and (linked := [number for _, number in found if is_link_local(number)]):
        raise TryFailed(f"{host} is a link-local address ({linked[0]}), which is never asked")
    if not private and (hidden := [number for _, number in found if not is_public(number)]):
        number = hidden[0]
        named = f"{host} is" if number == host else f"{host} is {number}, which is"
        raise NotPublic(named, "; --fetch-private allows addresses of private networks and of this machine")
    if not found:
        raise TryFailed(f"the name {host} has no IP address", blames_host=True)
    return found


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".")


def _may_pass(error: Exception) -> bool:
    """True if the name server did not answer, rather than answer that there is no such name."""
    return isinstance(error, socket.gaierror) and error.errno == getattr(socket, "EAI_AGAIN", None)
