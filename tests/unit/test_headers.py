"""Request ids and trace headers."""

from __future__ import annotations

import uuid
from itertools import islice

from lambent.wire.headers import lineage_of, render_trace, request_ids

ID = "0123abcd-0123-4123-8123-0123456789ab"


def test_request_ids_are_distinct_lower_case_random_uuids() -> None:
    ids = list(islice(request_ids(), 10_000))
    assert len(set(ids)) == 10_000
    for text in ids[:300]:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122


def test_without_a_trace_header_a_root_that_is_not_sampled_begins() -> None:
    assert render_trace(None, 0x65000000, ID, "1:aa:0") == (
        "Root=1-65000000-0123abcd0123412381230123;Sampled=0;Lineage=1:aa:0"
    )


def test_root_parent_and_sampling_of_the_caller_are_kept() -> None:
    received = b"root=1-5-6; Parent=77;Sampled=1;Self=9"
    assert render_trace(received, 0, ID, "1:aa:0") == "Root=1-5-6;Parent=77;Sampled=1;Lineage=1:aa:0"


def test_a_trace_header_without_a_root_or_with_one_that_is_unprintable_or_too_long_is_not_passed_on() -> None:
    for received in (b"", b"nonsense", b"Root=1-\xff", b"Root=\r\nX: y", b"Root=" + 129 * b"a"):
        assert render_trace(received, 0, ID, "1:aa:0").startswith("Root=1-00000000-")


def test_parts_of_a_trace_header_that_are_too_long_are_left_out() -> None:
    received = b"Root=1-5-6;Parent=" + 129 * b"7" + b";Sampled=" + 129 * b"1"
    assert render_trace(received, 0, ID, "1:aa:0") == "Root=1-5-6;Sampled=0;Lineage=1:aa:0"


def test_the_lineage_names_the_function_by_eight_hex_digits() -> None:
    first, second = lineage_of("arn:a"), lineage_of("arn:b")
    assert first != second
    assert len(first.split(":")[1]) == 8
