"""Clients of botocore for the server's own calls to other services.

They go to the endpoint of the setting ``aws.endpoint_url``: AWS itself, or whatever speaks the
service at a URL. botocore is imported when it is first needed: 0.1 s and 11 MB that few
servers have a use for.
"""

from __future__ import annotations

from typing import Any

NO_ENDPOINT = "nothing leaves this machine unless aws.endpoint_url says where to"
"""Why no other service is called without that setting."""


def connect(service: str, region: str, endpoint_url: str, *, account: str = "test", **options: Any) -> Any:
    """Return a client.

    Credentials are those that botocore finds; in front of a URL, which may be an emulator's,
    made-up ones where there are none.

    Args:
        service: botocore's name of it.
        region: where the resource is.
        endpoint_url: a URL, or ``aws`` for AWS itself.
        account: the made-up access key id: emulators of several accounts go by it.
        options: of botocore's ``Config``.

    Raises:
        ValueError: the URL is none.
    """
    import botocore.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    session = botocore.session.Session()
    given: dict[str, str] = {}
    if endpoint_url == "aws":
        options["ignore_configured_endpoint_urls"] = True
    else:
        options["s3"] = {"addressing_style": "path"}
        given["endpoint_url"] = endpoint_url
        # Asks a machine of AWS's for credentials, which has no place in front of an emulator.
        session.get_component("credential_provider").remove("iam-role")
        if session.get_credentials() is None:
            given |= {"aws_access_key_id": account, "aws_secret_access_key": "test"}
    config = Config(
        connect_timeout=5,
        # Not every S3 knows the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        **options,
    )
    return session.create_client(service, region, config=config, **given)


__all__ = ["NO_ENDPOINT", "connect"]
