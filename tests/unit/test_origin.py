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


@pytest.mark.parametrize("host", [b"evil.example:3001", b"127.0.0.1.evil.example", b"[", b"\xff.com"])
def test_foreign_host_names_are_refused(host: bytes) -> None:
    with pytest.raises(ForbiddenException):
        OriginCheck().check({b"host": host})


def test_the_name_that_the_server_was_given_passes() -> None:
    OriginCheck(frozenset({"lambda.example.org"})).check({b"host": b"lambda.example.org:3001"})


@pytest.mark.parametrize(
    "headers",
    [
        {b"sec-fetch-site": b"cross-site"},
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
