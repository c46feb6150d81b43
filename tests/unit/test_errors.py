"""The errors of Invoke against the service model, which says status, members and whose fault each is."""

from __future__ import annotations

import pytest

from lambent.api.service_model import load_service_model
from lambent.model.errors import INVOKE_ERRORS, THROTTLE_REASONS, EC2UnexpectedException, ServiceError

MODEL = load_service_model()
MODELLED = sorted(
    {
        each["shape"]
        for name in ("Invoke", "InvokeWithResponseStream")
        for each in MODEL["operations"][name]["errors"]
    }
)


@pytest.mark.parametrize("name", MODELLED)
def test_every_error_of_the_model_is_there_as_the_model_says(name: str) -> None:
    shape = MODEL["shapes"][name]
    kind = INVOKE_ERRORS[name]
    error = kind("ConcurrentInvocationLimitExceeded")
    in_body = {key for key, member in shape["members"].items() if "location" not in member}

    assert error.code == kind.__name__ == name
    assert error.status == shape["error"]["httpStatusCode"]
    assert set(error.body()) == in_body
    assert error.body()["Type"] == ("Service" if shape.get("fault") else "User")


def test_two_more_are_answered_besides() -> None:
    # An older botocore knows fewer errors.
    assert set(MODELLED) <= set(INVOKE_ERRORS)
    assert {"AccessDeniedException", "RequestEntityTooLargeException"} == {
        name for name in INVOKE_ERRORS if name not in MODEL["shapes"]
    }


def test_reasons_of_throttles_are_those_of_the_model() -> None:
    assert set(THROTTLE_REASONS) == set(MODEL["shapes"]["ThrottleReason"]["enum"])


def test_errors_of_ec2_tell_its_own_code_last() -> None:
    assert list(EC2UnexpectedException("x").body().items()) == [
        ("Type", "Service"),
        ("Message", "x"),
        ("EC2ErrorCode", "InternalError"),
    ]


def test_texts_are_where_they_are_expected() -> None:
    error: ServiceError = INVOKE_ERRORS["KMSDisabledException"]("x")
    assert list(error.body().items()) == [("Type", "Service"), ("Message", "x")]
