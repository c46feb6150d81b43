"""Requests that pages of other origins make are refused; programs are not."""

from __future__ import annotations

import pytest

from lambent.api.origin import OriginCheck
from lambent.model.errors import ForbiddenException


@pytest.mark.parametrize(
    "host",
    [b"127.0.0.1:3001", b"localhost:3001", b"[::1]:3001", b"lambent:3001", b"box.local", b"a.localhost", b""],
)
def test_addresses_and_local_names_pass(host: bytes) -> None:
    OriginCheck().check({b"host": host})


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example:3001",
        b"EVIL.example",
        b"127.0.0.1.evil.example",
        b"localhost.evil.example:3001",
        b"evillocalhost.example",
        b"evil.example#.localhost",
        b"evil.example/.localhost",
        b"evil.example?.localhost",
        b"127.0.0.1@evil.example",
        b"1.2.3",
        b"[",
        b"\xff.com",
    ],
)
def test_foreign_host_names_are_refused(host: bytes) -> None:
    with pytest.raises(ForbiddenException):
        OriginCheck().check({b"host": host})


def test_the_name_that_the_server_was_given_passes() -> None:
    check = OriginCheck(frozenset({"Lambda.example.org"})).check
    for host in (b"lambda.example.org:3001", b"LAMBDA.EXAMPLE.ORG"):
        check({b"host": host})


@pytest.mark.parametrize(
    "headers",
    [
        {b"sec-fetch-site": b"cross-site"},
        {b"sec-fetch-site": b"same-site"},
        {b"sec-fetch-site": b""},
        {b"sec-fetch-site": b"same-origin, cross-site"},
        {b"origin": b""},
        {b"origin": b"http://127.0.0.1"},
        {b"origin": b"http://127.0.0.1:30010"},
        {b"origin": b"http://127.0.0.1:3001.evil.example"},
        {b"origin": b"http://localhost:3001"},
        {b"sec-fetch-site": b"same-origin", b"origin": b"null"},
        {b"origin": b"https://evil.example"},
        {b"origin": b"null"},
        {b"origin": b"http://["},
        {b"origin": b"\xff\xfe"},
        {b"origin": b"http://127.0.0.1:8000"},
    ],
)
def test_pages_of_another_origin_are_refused(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(ForbiddenException):
        OriginCheck().check({b"host": b"127.0.0.1:3001", **headers})


def test_a_host_that_was_accepted_does_not_vouch_for_a_page() -> None:
    check = OriginCheck().check
    check({b"host": b"127.0.0.1:3001"})
    with pytest.raises(ForbiddenException):
        check({b"host": b"127.0.0.1:3001", b"origin": b"https://evil.example"})


def test_who_types_an_address_passes() -> None:
    OriginCheck().check({b"host": b"127.0.0.1:3001", b"sec-fetch-site": b"none"})


def test_the_servers_own_pages_pass() -> None:
    headers = {
        b"host": b"127.0.0.1:3001",
        b"origin": b"http://127.0.0.1:3001",
        b"sec-fetch-site": b"same-origin",
    }
    OriginCheck().check(headers)


def test_an_opaque_origin_is_refused_without_a_host_too() -> None:
    with pytest.raises(ForbiddenException):
        OriginCheck().check({b"origin": b"null"})
