"""IPv4 addresses inside IPv6 addresses: translators and tunnels deliver such packets to the IPv4 address."""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LAST_32_BITS: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated (SIIT)
        "64:ff9b::/96",  # NAT64
    )
)
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_LOCAL_NAT64_PREFIX_BITS: Final = (48, 56, 64, 96)
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")
_6TO4: Final = ipaddress.IPv6Network("2002::/16")
_ISATAP_INTERFACE: Final = (0x0000_5EFE, 0x0200_5EFE)


def reachable_addresses(address: Address) -> list[Address]:
    """
    Return the addresses at which a packet to `address` may arrive: itself and the IPv4 addresses it carries.

    Covers IPv4-mapped, IPv4-compatible, IPv4-translated (SIIT), NAT64, 6to4, Teredo and ISATAP addresses. An
    IPv4-mapped address is only its IPv4 address, because the operating system connects to that one. NAT64
    prefixes that a network chose for itself cannot be recognized; deny them with
    `MUSETALK_EGRESS__DENIED_NETWORKS`.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    return [address, *_embedded(address)]


def _embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    number = int(address)
    found: list[int] = []
    if any(address in network for network in _LAST_32_BITS):
        found.append(number)
    if address in _LOCAL_NAT64:
        found.extend(_after_prefix(number, bits) for bits in _LOCAL_NAT64_PREFIX_BITS)
    if address in _6TO4:
        found.append(number >> 80)
    if address in _TEREDO:
        found.extend((number >> 64, ~number))  # the server, and the client with inverted bits
    if (number >> 32) & 0xFFFF_FFFF in _ISATAP_INTERFACE:
        found.append(number)
    return [ipaddress.IPv4Address(one & 0xFFFF_FFFF) for one in found]


def _after_prefix(number: int, prefix_bits: int) -> int:
    """Return the IPv4 address after a NAT64 prefix; bits 64 to 71 carry none of it (RFC 6052, 2.2)."""
    if prefix_bits == 96:
        return number
    without_gap = (number >> 64) << 56 | number & (1 << 56) - 1
    return without_gap >> (120 - prefix_bits - 32)
