"""What a request says before anybody knows what it means."""

from __future__ import annotations

import pytest

from lambent.api.request import Request


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (b"", []),
        (b"Qualifier=%24LATEST", [("Qualifier", "$LATEST")]),
        (b"a=1&b=&a=2&c", [("a", "1"), ("b", ""), ("a", "2"), ("c", "")]),
        (b"a=b=c&%61+b=%2B", [("a", "b=c"), ("a b", "+")]),
        (b"a=%C3%BC&b=%FF&c=%", [("a", "\xfc"), ("b", "\ufffd"), ("c", "%")]),
        (b"&&a=1&", [("a", "1")]),
    ],
)
def test_the_query_is_decoded_once_and_keeps_its_order(query: bytes, pairs: list[tuple[str, str]]) -> None:
    assert Request(b"GET", b"/?" + query, {}).query_pairs() == pairs


def test_a_query_of_very_many_pairs_costs_no_more_than_a_thousand() -> None:
    pairs = Request(b"GET", b"/?" + b"a=b&" * 200_000, {}).query_pairs()
    assert pairs == [("a", "b")] * 1000
