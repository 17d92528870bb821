"""Where a webhook may be sent: public addresses by https alone, whatever an operator or a name server says.

A host is looked up once, every address of it is looked at, and what comes out is connected to as it is: a name that
points elsewhere a moment later changes nothing. Outside production the machine itself may be named, for trying out.
"""

import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from django.conf import settings

MAX_URL = 500  # characters
LOOK_UP_S = 3.0
LOCAL = {"localhost", "127.0.0.1", "::1"}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]

# What ``is_global`` lets through of IANA's special-purpose registry: IETF protocols, 6to4 relays (RFC 7526).
_REFUSED_V4 = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24")))
# Of IPv6 only what is given out as global unicast (RFC 4291), without what leads elsewhere or nowhere: IETF protocols
# and Teredo, documentation twice, 6to4. Mapped, compatible, site-local and the like are not in 2000::/3.
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20", "2002::/16")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: its last four bytes are an IPv4 address
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9a-fA-F:.]{2,45}", re.ASCII)
_TEXT = re.compile(r"[!-~]+", re.ASCII)  # printable, no blanks: what may stand in a request's first line


class Refused(ValueError):  # noqa: N818  (as an operator would say it)
    """It is not sent there; the text says why, for an operator."""


class Destination(msgspec.Struct, frozen=True):
    """An address in its parts. ``target`` is path and query as they stand in the request."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        """With the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        own = {"https": 443, "http": 80}[self.scheme]
        return host if self.port == own else f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it names this machine, which is allowed outside production."""
        return self.host in LOCAL


def parse(url: str) -> Destination:
    """An address that an operator has entered.

    Raises:
        Refused: it is none to which webhooks are sent.
    """
    if len(url) > MAX_URL:
        raise Refused(f"This address is longer than {MAX_URL} characters.")
    if not _TEXT.fullmatch(url) or "\\" in url:
        raise Refused("An address has no blanks, backslashes or letters with accents: write them as its server does.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Refused("This is no address: it looks like https://example.com/parley.") from None
    if parts.scheme not in {"https", "http"} or not _HOST.fullmatch(host) or port == 0:
        raise Refused("This is no address: it looks like https://example.com/parley.")
    if "@" in parts.netloc:
        raise Refused("Leave out the user name and password: the signature tells that it is Parley who asks.")
    if "#" in url:
        raise Refused("Leave out what follows #: it is never sent.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    found = Destination(parts.scheme, host, port or {"https": 443, "http": 80}[parts.scheme], target)
    if found.is_local and settings.PRODUCTION:
        raise Refused("This names the machine on which Parley runs: enter a public address.")
    if found.scheme == "http" and not found.is_local:
        raise Refused("Webhooks are sent by https only: anybody on the way could read and change them.")
    return found


def addresses(destination: Destination, *, resolver: Resolver | None = None) -> list[str]:
    """The addresses of its host, looked up once and each looked at: one that is not public refuses all.

    Args:
        resolver: in the place of the machine's own.

    Raises:
        Refused: the name has no address or cannot be looked up now, or one of them may not be connected to.
    """
    found = (resolver or _looked_up)(destination.host, destination.port)
    if not found:
        raise Refused("The host's name has no address.")
    for text in found:
        address = ipaddress.ip_address(text)
        if not (address.is_loopback if destination.is_local and not settings.PRODUCTION else is_public(address)):
            raise Refused("The host's name leads to an address that is not public.")
    return found


def is_public(address: Address) -> bool:
    """Whether it is an address of the internet: not private, loopback, link-local, shared, reserved or multicast, and
    no spelling of such a one within another."""
    if isinstance(address, ipaddress.IPv4Address):
        public = address.is_global and not (address.is_multicast or address.is_reserved)
        return public and not any(address in network for network in _REFUSED_V4)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(address.packed[-4:]))
    return address in _UNICAST_V6 and address.is_global and not any(address in network for network in _REFUSED_V6)


def check(url: str) -> None:
    """Everything that is looked at before a delivery, for the form. Raises Refused."""
    addresses(parse(url))


def _looked_up(host: str, port: int) -> list[str]:
    """By the machine's resolver, which takes no time limit: in a thread that is left behind when it is slow."""
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found)))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError("not a name"))

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        answer = answers.get(timeout=LOOK_UP_S)
    except queue.Empty:
        raise Refused("The host's name could not be looked up in time.") from None
    if isinstance(answer, OSError):
        raise Refused("The host's name is not known, or cannot be looked up now.")
    return answer
