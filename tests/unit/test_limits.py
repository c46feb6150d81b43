"""Limits are numbers that know where they come from."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from lambent import limits


def test_a_limit_is_a_plain_number_wherever_one_is_wanted() -> None:
    limit = limits.SYNC_REQUEST_BYTES
    assert limit == 6_291_456
    assert f"{limit} {limit:,}" == "6291456 6,291,456"
    assert json.dumps({"limit": limit}) == '{"limit": 6291456}'


@pytest.mark.parametrize("name", limits.table())
def test_every_limit_tells_unit_and_source(name: str) -> None:
    limit = limits.table()[name]
    assert limit.unit in {"bytes", "characters", "s", "ms", "MB", "count", "count/s"}
    assert limit.source.startswith(("docs/aws-behaviour.md, ", "the service model, ", "our choice, "))


def test_a_limit_survives_copy_and_pickle() -> None:
    for other in (copy.copy(limits.INIT_S), pickle.loads(pickle.dumps(limits.INIT_S))):
        assert (other, other.unit, other.source) == (10, "s", limits.INIT_S.source)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        (limits.ASYNC_REQUEST_BYTES, 1_048_576),
        (limits.SYNC_RESPONSE_BYTES, 6_291_556),
        (limits.CLIENT_CONTEXT_BYTES, 3_583),
        (limits.CREATE_REQUEST_BYTES, 70_167_211),
        (limits.CONFIGURATION_REQUEST_BYTES, 5_120),
        (limits.ZIPPED_CODE_BYTES, 52_428_800),
        (limits.UNZIPPED_CODE_BYTES, 262_144_000),
        (limits.ENVIRONMENT_BYTES, 4_096),
        (limits.ACCOUNT_CONCURRENCY, 1_000),
        (limits.UNRESERVED_CONCURRENCY_MIN, 100),
        (limits.TIMEOUT_S_MAX, 900),
    ],
)
def test_numbers_that_aws_prints(limit: limits.Limit, value: int) -> None:
    assert limit == value
