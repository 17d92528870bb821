"""Where a webhook may go: every spelling of an address that is not the public internet is refused."""

import ipaddress
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.hooks import destinations
from calls.hooks.destinations import Destination, Refused, addresses, is_public, parse

pytestmark = pytest.mark.pure

PUBLIC = ["1.1.1.1", "93.184.215.14", "192.31.196.1", "2606:4700:4700::1111", "2a00:1450:4001:830::200e"]
NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3",  # noqa: S104
    "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.8.8", "169.254.0.1",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.0.9", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "233.252.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:7f00:1",
    "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.1.2.3", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "febf::1",
    "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip


def resolving(*found: str):
    return lambda _host, _port: list(found)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_connected_to(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_of_the_internet_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(Refused, match="not public"):
        addresses(parse("https://hooks.example.com/"), resolver=resolving(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_within_an_ipv6_address_is_never_more_public_than_itself(inner) -> None:
    number = int(inner)
    for form in (number, 0xFFFF << 32 | number, 0xFFFF << 48 | number, 0x2002 << 112 | number << 80):
        assert not is_public(ipaddress.IPv6Address(form))
    assert is_public(ipaddress.IPv6Address((0x64FF9B << 96) | number)) is is_public(inner)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_that_is_taken_is_global_unicast_for_python_too(address) -> None:
    if is_public(address):
        assert address.is_global
        assert not any((address.is_private, address.is_loopback, address.is_link_local, address.is_multicast))


def test_one_address_that_is_not_public_refuses_all() -> None:
    with pytest.raises(Refused, match="not public"):
        addresses(parse("https://hooks.example.com/"), resolver=resolving("1.1.1.1", "10.0.0.1"))
    found = addresses(parse("https://hooks.example.com/"), resolver=resolving("1.1.1.1", "2606:4700::1"))
    assert found == ["1.1.1.1", "2606:4700::1"]


@pytest.mark.parametrize(
    "host", ["0x7f.1", "0x7f000001", "2130706433", "017700000001", "127.1", "localhost.", "[::ffff:7f00:1]", "0"]
)
def test_an_odd_spelling_of_this_machine_is_refused_once_it_is_looked_up(host: str) -> None:
    with pytest.raises(Refused, match=r"not public|not known|no address"):
        addresses(parse(f"https://{host}/"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "no blanks"),
        ("hooks.example.com/parley", "This is no address"),
        ("ftp://hooks.example.com/", "This is no address"),
        ("file:///etc/passwd", "This is no address"),
        ("gopher://127.0.0.1:6379/_SET", "This is no address"),
        ("https://", "This is no address"),
        ("https:///path", "This is no address"),
        ("https://host:99999/", "This is no address"),
        ("https://host:0/", "This is no address"),
        ("https://host:x/", "This is no address"),
        ("https://[::1/", "This is no address"),
        ("https://[fe80::1%25eth0]/", "This is no address"),
        ("https://a_b!c/", "This is no address"),
        ("https://user:key@hooks.example.com/", "user name"),
        ("https://1.1.1.1@127.0.0.1/", "user name"),
        ("https://hooks.example.com/#part", "follows #"),
        ("https://hooks.example.com\\@127.0.0.1/", "backslashes"),
        ("https://hooks.example.com/a b", "no blanks"),
        ("https://hooks.example.com/\r\nHost: evil", "no blanks"),
        ("https://hooks.example.com/\thidden", "no blanks"),
        ("https://①②⑦.⓪.⓪.①/", "accents"),
        ("https://bücher.example/", "accents"),
        ("http://hooks.example.com/", "https only"),
        ("http://10.0.0.1/", "https only"),
        (f"https://hooks.example.com/{'x' * 500}", "longer than 500"),
    ],
)
def test_what_is_no_address_for_webhooks_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        parse(url)


@given(st.text(max_size=60))
def test_whatever_is_typed_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://hooks.example.com{text}"):
        try:
            found = parse(url)
        except Refused:
            continue
        assert found.scheme == "https" or found.is_local
        assert "\n" not in found.target
        assert "@" not in found.host


def test_an_address_is_taken_apart_as_the_request_needs_it() -> None:
    assert parse("https://Hooks.example.com") == Destination("https", "hooks.example.com", 443, "/")
    odd = parse("https://hooks.example.com:8443/a/b?c=d")
    assert (odd.port, odd.target, odd.host_header) == (8443, "/a/b?c=d", "hooks.example.com:8443")
    assert parse("https://[2606:4700::1]/x").host_header == "[2606:4700::1]"


def test_this_machine_may_be_named_for_trying_out_but_not_in_production(settings) -> None:
    for url in ("http://127.0.0.1:8000/x", "http://localhost:8000/x", "https://localhost/x", "http://[::1]:9/x"):
        assert parse(url).is_local
    assert addresses(parse("http://127.0.0.1:1/x")) == ["127.0.0.1"]
    with pytest.raises(Refused, match="not public"):
        addresses(parse("http://localhost/x"), resolver=resolving("1.1.1.1"))
    with pytest.raises(Refused, match="not public"):
        addresses(parse("https://other.example/x"), resolver=resolving("127.0.0.1"))
    settings.PRODUCTION = True
    for url in ("http://127.0.0.1:8000/x", "https://localhost/x", "http://localhost/x"):
        with pytest.raises(Refused, match="machine on which Parley runs"):
            parse(url)


def test_a_name_that_is_not_known_or_whose_server_is_silent_is_said_so(monkeypatch) -> None:
    silent = threading.Event()

    def asked(host: str, *_: object, **__: object):
        if host == "silent.example.com":
            silent.wait(5)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setattr(destinations, "LOOK_UP_S", 0.05)
    with pytest.raises(Refused, match="in time"):
        addresses(parse("https://silent.example.com/"))
    silent.set()
    monkeypatch.setattr(destinations, "LOOK_UP_S", 3)
    with pytest.raises(Refused, match="not known"):
        addresses(parse("https://nobody.example.com/"))
    with pytest.raises(Refused, match="no address"):
        addresses(parse("https://empty.example.com/"), resolver=resolving())
