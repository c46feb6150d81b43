"""Whatever a handler returns: the bootstrap's JSON is that of AWS's runtime, and so are its refusals."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from awslambdaric.lambda_runtime_marshaller import Encoder as AwsEncoder
from hypothesis import given
from hypothesis import strategies as st

from lambent.execution.bootstrap.jsontext import Encoder, decode

Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - what users write

PLAIN_KEYS = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
SCALARS = PLAIN_KEYS | st.binary(max_size=4) | st.decimals() | st.complex_numbers() | st.just(...)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(PLAIN_KEYS | st.binary(max_size=4) | st.tuples(st.integers()), inner)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.sets(st.integers(), max_size=2)
    ),
    max_leaves=12,
)


def _outcome(encode: Callable[[Any], str], value: Any) -> str:
    try:
        return encode(value)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture(params=["3.11", "3.12"], scope="module")
def encoders(request: pytest.FixtureRequest) -> tuple[Encoder, AwsEncoder]:
    """Ours and theirs of the same runtime: before Python 3.12 everything beyond ASCII is escaped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EXECUTION_ENV", f"AWS_Lambda_python{request.param}")
        return Encoder(ensure_ascii=request.param == "3.11"), AwsEncoder()


@given(value=VALUES)
def test_results_are_written_as_by_awslambdaric(encoders: tuple[Encoder, AwsEncoder], value: Any) -> None:
    ours, theirs = encoders
    assert _outcome(ours.encode, value) == _outcome(theirs.encode, value)


@given(value=VALUES)
def test_refused_value_leaves_the_encoder_as_it_was(value: Any) -> None:
    encoder = Encoder(ensure_ascii=False)
    loop: list[Any] = [value]
    loop.append(loop)
    assert _outcome(encoder.encode, [loop]) != ""
    assert encoder.encode([[1], {"a": Decimal("1.0")}]) == '[[1], {"a": 1.0}]'


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    space=st.sampled_from(["", " ", "\n", " \t\r\n"]),
    is_ascii=st.booleans(),
)
def test_events_are_read_as_by_json(value: Any, space: str, *, is_ascii: bool) -> None:
    text = space + json.dumps(value, ensure_ascii=is_ascii) + space
    payload = text.encode("utf-8", "surrogatepass")
    try:
        payload.decode()
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="utf-8"):
            decode(payload)
        return
    assert decode(payload) == json.loads(text)


@pytest.mark.parametrize("payload", [b"", b" ", b"1 2", b"[1", b'{"a": 1}x', b"nul", b"\xff", b"[1]\x00"])
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the parser's
        decode(payload)
