"""ARNs of every kind, taken apart."""

from __future__ import annotations

import pytest

from lambent.model.arns import Arn, parse_arn


@pytest.mark.parametrize(
    ("text", "arn"),
    [
        ("arn:aws:sqs:eu-west-1:000000000000:q", Arn("aws", "sqs", "eu-west-1", "000000000000", "q")),
        ("arn:aws:s3:::bucket", Arn("aws", "s3", "", "", "bucket")),
        ("arn:aws-cn:lambda:r:1:function:f:live", Arn("aws-cn", "lambda", "r", "1", "function:f:live")),
        ("arn:aws:iam::1:role/path/r", Arn("aws", "iam", "", "1", "role/path/r")),
        ("arn:aws:sqs", Arn("aws", "sqs")),
        ("kafka://topic", Arn("//topic")),
        ("name", Arn()),
        ("", Arn()),
    ],
)
def test_the_parts_of_an_arn(text: str, arn: Arn) -> None:
    assert parse_arn(text) == arn
