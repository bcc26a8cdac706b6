"""
Ways to have a service talk to what it must not reach, as data: addresses, spellings, and how they are served.

Nothing here is ever dialled. `networks` are those of the guard's own list, written down a second time.
"""

import ipaddress
from dataclasses import dataclass

PUBLIC = "93.184.216.34"
"""Where a harmless first answer comes from; the dialler of the tests is a fake."""


def _words(text: str) -> list[str]:
    return text.split()


NETWORKS = _words("""
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4
240.0.0.0/4 168.63.129.16/32 ::/96 ::1/128 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23
2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
""")

INSIDE = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "168.63.129.16", "0.0.0.0"]
"""IPv4 addresses that are hidden in IPv6 ones below."""


def _edges() -> list[str]:
    edges = [str(ipaddress.ip_network(text)[at]) for text in NETWORKS for at in (0, -1)]
    return list(dict.fromkeys(edges))


def _hidden(inside: list[str]) -> list[str]:
    """Each inner IPv4 address in every way IPv6 has of carrying one."""
    found: list[str] = []
    for text in inside:
        number = int(ipaddress.IPv4Address(text))
        pair = f"{number >> 16:x}:{number & 0xFFFF:x}"
        flipped = number ^ 0xFFFFFFFF
        found += [
            f"::ffff:{text}",
            f"::ffff:{pair}",
            f"0:0:0:0:0:ffff:{pair}",
            f"::{text}" if number > 1 else "0:0:0:0:0:0:0:0",
            f"64:ff9b::{pair}",
            f"64:ff9b:1::{pair}",
            f"2002:{pair}::1",
            f"2001:0:5ef5:79fb::{flipped >> 16:x}:{flipped & 0xFFFF:x}",  # Teredo keeps the client's inverted
            f"2001:0:{pair}::",  # and its server's as it is
            f"::ffff:0:{text}",
            f"2606:4700:1:2:0:5efe:{pair}",  # ISATAP behind any prefix, with a private and a public interface
            f"2606:4700:1:2:200:5efe:{pair}",
            *_local_nat64(number),
        ]
    return found


def _local_nat64(number: int) -> list[str]:
    """The local NAT64 prefix, as the networks of 48, 56, 64 and 96 bits that RFC 6052 allows in it."""
    prefix = int(ipaddress.IPv6Address("64:ff9b:1::"))
    upper, middle, low24 = number >> 16, number >> 24, number & 0xFFFFFF
    behind = [upper << 64 | (number & 0xFFFF) << 40, middle << 64 | low24 << 32, number << 24]
    return [str(ipaddress.IPv6Address(prefix | one)) for one in [*behind, 0xFFFE << 32 | number]]


KNOWN = _words("""
100.100.100.200 192.0.0.192 fd00:ec2::254 fd00:c1::a9fe:a9fe fd20:ce::254 fe80::a9fe:a9fe
127.8.8.8 172.31.255.254 198.19.0.1 239.255.255.250
255.255.255.255 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:10::1 2002:a9fe:a9fe::1 ff02::1 ff0e::1
fe80::1%eth0 ::ffff:7f00:1%lo fec0::1 3fff::1 5f00::1 100::1 64:ff9b::808:808
""")
"""Metadata services, multicast, zones, and samples of kinds that usual filters let through."""

SPELLINGS = [
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7F.0x0.0x0.0x1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://127.0.0.1/",
    "https://127.0.0.1./",
    "https://127.000.000.001/",
    "https://[::1]/",
    "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://%31%32%37.0.0.1/",
    "https://127%2e0%2e0%2e1/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://127\u30020\u30020\u30021/",
    "https://\u2460\u2461\u2466.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/latest/meta-data/",
    "https://user@media.test/",
    "https://user:pw@media.test/",
    "https://:pw@media.test/",
    "https://@127.0.0.1/",
    "https://media.test@127.0.0.1/",
    "https://media.test:443@127.0.0.1/",
    "https://127.0.0.1\\@media.test/",
    "https://127.0.0.1#@media.test/",
    "https://media.test\\.127.0.0.1/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://a.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://xn--1-/",
    "https://a.xn--1-.test/",
    "https://XN--1-/",
    "https://xn--/",
    "https://xn--a\u00df-/",
    "https://xn--ls8h.test/",  # a name of symbols, which IDNA 2008 does not have
    "https://" + "xn--" + "a" * 60 + ".test/",
    "https://\u2665.test/",
    "https://a\u200db.test/",
    "https://-\u00e4-.test/",
    "https://[v1.fe]/",
    "https://[::1/",
    "https://[127.0.0.1]/",
    "https://media.test:" + "9" * 5000 + "/",
    "https://media.test:-1/",
    "https://media.test:22/",
    "https://media.test:6379/",
    "https://media.test:0/",
    "https://media.test:99999/",
    "https://" + "a" * 300 + ".test/",
    "ftp://media.test/",
    "file:///etc/passwd",
    "gopher://media.test:70/_x",
    "dict://media.test/",
    "unix:///run/docker.sock",
    "data:text/plain,x",
    "javascript:alert(1)",
    "//127.0.0.1/",
]
"""Refused by themselves, with names that would resolve to a public address."""

DIRECT_ONLY = [
    "https://media.test/a b",
    "https://media.test/a\tb",
    "https://media.test/a\r\nHost: x",
    "https:///a",
    "https://",
    "media.test",
    "",
    "https",
    "/etc/passwd",
    "\\\\media.test\\a",
]
"""No addresses; as the target of a redirect they are relative to a public one, or mended to be one."""

PUBLIC_ADDRESSES = _words("""
1.1.1.1 8.8.8.8 93.184.216.34 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255
192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.15 168.63.129.17
2606:4700:4700::1111 2a00:1450:4001::1 2001:200::1 2003::1 2620:fe::fe ::ffff:1.1.1.1
""")
"""May be used, neighbours of what may not be among them."""


@dataclass(frozen=True)
class Vector:
    """
    One attempt.

    Attributes:
        url:      asked for.
        answers:  what the name resolves to, at its first, second … connection; the last one stays.
        redirect: where a public server at `PUBLIC` sends the caller first.
        proxies:  the environment names a proxy.
        allowed:  the operator allowed the name, so that it may have a private address.
    """

    url: str = "https://media.test/a"
    answers: tuple[tuple[str, ...], ...] = ((PUBLIC,),)
    redirect: str | None = None
    proxies: bool = False
    allowed: bool = False


def _literal(address: str) -> str:
    return f"https://[{address}]/" if ":" in address else f"https://{address}/"


def _all() -> dict[str, Vector]:
    mapped = [f"::ffff:{address}" for address in _edges() if ":" not in address]
    addresses = list(dict.fromkeys([*_edges(), *mapped, *_hidden(INSIDE), *KNOWN]))
    table = {f"resolves to {address}": Vector(answers=((address,),)) for address in addresses}
    table |= {f"is {address}": Vector(_literal(address)) for address in addresses if "%" not in address}
    table |= {f"spelled {url[:60]!r}": Vector(url) for url in [*SPELLINGS, *DIRECT_ONLY]}
    table |= {f"redirect to {url[:60]!r}": Vector(redirect=url) for url in SPELLINGS}
    table |= {
        f"redirect to {address}": Vector(redirect=_literal(address))
        for address in [*_hidden(INSIDE), *KNOWN[:6]]
    }
    for inner in ("127.0.0.1", "::1", "169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"):
        table |= {
            f"public, then {inner}, in one answer": Vector(answers=((PUBLIC, inner),)),
            f"{inner}, then public, in one answer": Vector(answers=((inner, PUBLIC),)),
            f"{inner} among many": Vector(answers=((PUBLIC, "1.1.1.1", inner, "8.8.8.8"),)),
            f"changes to {inner}": Vector(answers=((PUBLIC,), (inner,)), redirect="https://media.test/b"),
            f"changes to {inner} among others": Vector(
                answers=((PUBLIC,), (PUBLIC, inner)), redirect="https://media.test/b"
            ),
            f"{inner} with a proxy": Vector(answers=((inner,),), proxies=True),
            f"literal {inner} with a proxy": Vector(_literal(inner), proxies=True),
            f"redirect to {inner} with a proxy": Vector(redirect=_literal(inner), proxies=True),
        }
    metadata = [*_hidden(["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192"]), *KNOWN[:6]]
    for inner in [*metadata, "169.254.169.254", "168.63.129.16"]:
        table[f"an allowed name is {inner}"] = Vector(answers=((inner,),), allowed=True)
    table["answers nothing"] = Vector(answers=((),))
    table["answers no address"] = Vector(answers=(("media.test",),))
    table["goes from https to http"] = Vector(redirect="http://media.test/a")
    return {name: vector for vector, name in {vector: name for name, vector in table.items()}.items()}


VECTORS = _all()
"""By name. Each must be refused without a connection to anything but `PUBLIC`."""
