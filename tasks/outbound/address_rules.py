"""
SSRF rules for outgoing requests: validation of URLs, and of the IP addresses that their hosts resolve to.

Listed networks are denied, every address that DNS returns is checked, and the decision is made when a
connection is opened: see docs/explanation/security.md. Nothing here sends a request.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

import httpx
import idna

from tasks.errors import InputBlocked
from tasks.outbound.embedded_ipv4 import reachable_addresses
from tasks.settings import EgressSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*lines: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(word) for line in lines for word in line.split())


DENIED_NETWORKS = _networks(
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24",
    "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4",
    "168.63.129.16/32",
    "::/96 ::1/128 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23",
    "2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8",
)
"""Private, reserved and translated networks. Connections are refused unless the host is allowed by name."""

METADATA_NETWORKS = _networks(
    "169.254.0.0/16 168.63.129.16/32 100.100.100.200/32 192.0.0.192/32",
    "fd00:ec2::/32 fd00:c1::/32 fd20:ce::/32 fe80::a9fe:a9fe/128",
)
"""Metadata services of cloud providers, which hand out credentials. Denied for allowed hosts too."""

_LOCAL_NAMES = (".localhost", ".local", ".internal")
_UNSAFE_CHARACTERS = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?|\[[0-9a-f:.]+\]")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Destination:
    """
    A URL that passed `validate_url`.

    Attributes:
        url:     the parsed URL, with IDNA applied.
        trusted: whether the operator allowed this host (or this port of it) by name.
    """

    url: httpx.URL
    trusted: bool

    @property
    def display_url(self) -> str:
        """Return the URL for messages and logs: without its query, which may be a signature."""
        return f"{self.url.scheme}://{self.url.netloc.decode('ascii')}{self.url.path}"[:200]


def blocked_error(display_url: str) -> InputBlocked:
    """Return the error for a URL that is not allowed."""
    return InputBlocked(unreachable_message(display_url))


def unreachable_message(display_url: str) -> str:
    """Return the message for a failed fetch. It is the same for blocked and for unreachable URLs."""
    return f"{display_url} could not be fetched: it does not respond, or this service may not connect to it."


def validate_url(text: str, rules: EgressSettings) -> Destination:
    """
    Parse a URL; check its spelling, and its host if that is an IP address. Sends and resolves nothing.

    Args:
        text:  the URL.
        rules: the egress settings.

    Raises:
        InputBlocked: the scheme, user name, fragment, port, host or a character is not allowed.
    """
    display_url = text.split("?", 1)[0].split("#", 1)[0].rsplit("@", 1)[-1][:200]
    if _UNSAFE_CHARACTERS.search(text) or "#" in text:
        raise blocked_error(_UNSAFE_CHARACTERS.sub("_", display_url))
    try:
        url = parse_url(text)
    except ValueError as error:
        raise blocked_error(display_url) from error
    host = _normalize_host(url.raw_host.decode("ascii"))
    port = _DEFAULT_PORTS.get(url.scheme, 0) if url.port is None else url.port
    trusted = is_trusted(host, port, rules)
    schemes = {"https", "http"} if rules.allow_http else {"https"}
    if (
        url.scheme not in schemes
        or url.userinfo
        or not _HOST.fullmatch(host)
        or not _is_unambiguous_host(host)
    ):
        raise blocked_error(display_url)
    if not trusted and (port not in rules.ports or f".{host.rstrip('.')}".endswith(_LOCAL_NAMES)):
        raise blocked_error(display_url)
    if _is_denied_literal(host, rules, trusted=trusted):
        raise blocked_error(display_url)
    return Destination(url, trusted)


def parse_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """
    Parse a URL, or join a relative one with `base`.

    Raises:
        ValueError: it is not a URL, or its host is not a valid internationalized name. Without this check the
            second error comes from a library, as soon as the name is displayed or requested.
    """
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    for label in url.raw_host.decode("ascii").lower().split("."):
        if label.startswith("xn--"):
            idna.ulabel(label)  # IDNAError is a ValueError
    return url


def is_trusted(host: str, port: int, rules: EgressSettings) -> bool:
    """
    Return whether the operator allowed a host, or one port of it, by name.

    Args:
        host:  the host as requested; an IPv6 address with or without brackets.
        port:  the port to connect to.
        rules: the egress settings.
    """
    host = _normalize_host(host)
    return bool({host, f"{host}:{port}"} & {name.lower() for name in rules.allowed_hosts})


def _normalize_host(host: str) -> str:
    host = host.lower()
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _is_unambiguous_host(host: str) -> bool:
    """Return whether a host is a name or a dotted IPv4 address; False for `2130706433`, `0x7f.1`, `127.1`."""
    if host.startswith("["):
        return True
    if not _NUMBER.fullmatch(host.rstrip(".").rsplit(".", 1)[-1]):
        return True
    try:
        return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False


def _is_denied_literal(host: str, rules: EgressSettings, *, trusted: bool) -> bool:
    """Return whether a host is a denied IP address; False for names, which are judged when dialed."""
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return False
    return not validate_addresses([address], trusted=trusted, denied_networks=rules.denied_networks)


def validate_addresses(
    addresses: Iterable[str], *, trusted: bool, denied_networks: Iterable[str] = ()
) -> list[str]:
    """
    Check all addresses that a host name resolved to.

    Args:
        addresses:       IP addresses as text, with or without a zone.
        trusted:         whether the operator allowed this host. If so, only `METADATA_NETWORKS` and
            `denied_networks` are denied.
        denied_networks: networks that the settings deny for every host.

    Returns:
        The addresses, in order. Empty if one of them is denied, or if there are none.
    """
    networks = [ipaddress.ip_network(text, strict=False) for text in denied_networks]
    networks.extend(METADATA_NETWORKS if trusted else DENIED_NETWORKS + METADATA_NETWORKS)
    texts = [text.split("%", 1)[0] for text in addresses]
    return texts if all(_is_outside(text, networks) for text in texts) else []


def _is_outside(text: str, networks: Iterable[Network]) -> bool:
    try:
        addresses = reachable_addresses(ipaddress.ip_address(text))
    except ValueError:
        return False
    return not any(
        address.version == network.version and address in network
        for network in networks
        for address in addresses
    )
