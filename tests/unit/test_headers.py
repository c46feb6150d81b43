"""Request ids and trace headers."""

from __future__ import annotations

import uuid
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.wire.headers import lineage_of, render_trace, request_ids, runs_before

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


@pytest.mark.parametrize(
    ("received", "lineage"),
    [
        ("", "1:0a0a0a0a:0"),
        ("1:0a0a0a0a:0", "1:0a0a0a0a:1"),
        ("0a0a0a0a:15", "1:0a0a0a0a:16"),
        ("1:0b0b0b0b:3", "1:0b0b0b0b:3|1:0a0a0a0a:0"),
        ("1:0a0a0a0a:2|1:0b0b0b0b:3", "1:0b0b0b0b:3|1:0a0a0a0a:3"),
        ("1:0a0a0a0a:2%7C1:0b0b0b0b:3", "1:0b0b0b0b:3|1:0a0a0a0a:3"),
        ("nonsense|1:0b0b0b0b:-1|1:0a0a0a0a:1234567", "1:0a0a0a0a:0"),
    ],
)
def test_the_lineage_of_the_caller_goes_on_with_one_run_more(received: str, lineage: str) -> None:
    trace = render_trace(f"Root=1-5-6;Lineage={received}".encode(), 0, ID, "1:0a0a0a0a:0")
    assert trace == f"Root=1-5-6;Sampled=0;Lineage={lineage}"
    assert runs_before(trace) == int(lineage.rpartition(":")[2])


def test_of_a_long_lineage_the_first_functions_are_forgotten() -> None:
    received = "|".join(f"1:{number:08x}:1" for number in range(100))
    trace = render_trace(f"Root=1;Lineage={received}".encode(), 0, ID, "1:0a0a0a0a:0")
    parts = trace.partition("Lineage=")[2].split("|")
    assert (len(parts), parts[0], parts[-1]) == (32, "1:00000045:1", "1:0a0a0a0a:0")


@given(st.binary(max_size=300))
def test_no_trace_header_is_too_odd(received: bytes) -> None:
    assert runs_before(render_trace(b"Lineage=" + received, 0, ID, "1:0a0a0a0a:0")) >= 0
