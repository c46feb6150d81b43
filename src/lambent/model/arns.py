"""The parts of an ARN."""

from __future__ import annotations

from typing import NamedTuple


class Arn(NamedTuple):
    """``arn:<partition>:<service>:<region>:<account>:<resource>``; parts that are left out are empty."""

    partition: str = ""
    service: str = ""
    region: str = ""
    account: str = ""
    resource: str = ""


def parse_arn(text: str) -> Arn:
    """Take an ARN apart; what is cut off before its end has empty parts there."""
    return Arn(*text.split(":", 5)[1:])


__all__ = ["Arn", "parse_arn"]
