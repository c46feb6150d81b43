"""Region, endpoint, credentials and proxies: where they are looked for, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.client_steps import NOW, World, answer, core

from lambent.client import UNSIGNED, ConfigurationError, Credentials
from lambent.client.settings import Settings, parse_endpoint
from lambent.clock import ManualClock


def settings(environ: dict[str, str] | None = None, **options: Any) -> Settings:
    return Settings(environ=environ or {}, **options)


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = eu-west-1\n"
        "[profile work]\nregion = eu-north-1\nendpoint_url = http://profile:1\naws_access_key_id = AKIDPROFILE\n"
        "aws_secret_access_key = s\nca_bundle = /ca.pem\n"
        "[profile split]\nregion = eu-north-1\nservices = mine\n"
        "[services mine]\nlambda =\n  endpoint_url = http://service:2\n"
    )
    # botocore reads the process's own.
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return {"AWS_CONFIG_FILE": str(config)}


def test_the_region_is_an_argument_a_variable_or_of_the_profile(profiles: dict[str, str]) -> None:
    variables = {"AWS_REGION": "r-1", "AWS_DEFAULT_REGION": "r-2"}
    assert settings(variables, region_name="r-0").region() == "r-0"
    assert settings(variables).region() == "r-1"
    assert settings({"AWS_DEFAULT_REGION": "r-2"}).region() == "r-2"
    assert settings(profiles).region() == "eu-west-1"
    assert settings(profiles, profile_name="work").region() == "eu-north-1"
    assert settings({**profiles, "AWS_PROFILE": "work"}).region() == "eu-north-1"
    assert settings().region() is None


def test_the_endpoint_is_an_argument_a_variable_of_the_profile_or_awss_own(profiles: dict[str, str]) -> None:
    own, general = {"AWS_ENDPOINT_URL_LAMBDA": "http://own:1"}, {"AWS_ENDPOINT_URL": "http://general:1"}
    region = {"AWS_REGION": "us-east-1"}
    assert settings({**own, **general}, endpoint_url="http://given:1").endpoint().url == "http://given:1"
    assert settings(own | general).endpoint("http://call:1").url == "http://call:1"
    assert settings(own | general).endpoint().url == "http://own:1"
    assert settings(general).endpoint().url == "http://general:1"
    assert settings(profiles, profile_name="work").endpoint().url == "http://profile:1"
    assert settings(profiles, profile_name="split").endpoint().url == "http://service:2"
    ignored = {**own, **region, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert settings(ignored).endpoint().url == "https://lambda.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "lambda.us-east-1.amazonaws.com"),
        ("cn-north-1", "lambda.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "lambda.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", "lambda.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "lambda.us-isob-east-1.sc2s.sgov.gov"),
        ("eusc-de-east-1", "lambda.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_awss_endpoint_is_that_of_botocore(region: str, host: str) -> None:
    import boto3

    client = boto3.client("lambda", region_name=region, aws_access_key_id="a", aws_secret_access_key="b")
    assert settings().endpoint(None, region).url == client.meta.endpoint_url == f"https://{host}"


def test_fips_and_dual_stack_have_names_of_their_own() -> None:
    region = {"AWS_REGION": "us-east-1"}
    fips, dual = {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
    assert settings(region | fips).endpoint().host == "lambda-fips.us-east-1.amazonaws.com"
    assert settings(region | dual).endpoint().host == "lambda.us-east-1.api.aws"
    assert settings(region | fips | dual).endpoint().host == "lambda-fips.us-east-1.api.aws"


def test_an_endpoint_may_have_a_path_and_an_address_of_ipv6() -> None:
    endpoint = parse_endpoint("http://[::1]:3001/prefix/")
    assert (endpoint.host, endpoint.port, endpoint.netloc, endpoint.prefix) == (
        "::1",
        3001,
        "[::1]:3001",
        "/prefix",
    )
    assert parse_endpoint("https://h:443").netloc == "h"
    world = World(core(endpoint_url="http://h/prefix/"), answer())
    world.invoke()
    assert world.sent[0].target == "/prefix/2015-03-31/functions/hello/invocations"


@pytest.mark.parametrize("url", ["h", "ftp://h", "http://", "http://h:x", "http://h\r\nx", "http://[::1"])
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint"):
        World(core(endpoint_url=url)).invoke()


def test_what_is_missing_is_told_by_the_first_call_with_what_was_looked_for() -> None:
    nothing: dict[str, Any] = {"endpoint_url": None, "region_name": None, "credentials": None}
    for given, told in (
        ({}, "AWS_ENDPOINT_URL_LAMBDA.*AWS_REGION"),
        ({"endpoint_url": "http://h", "credentials": Credentials("a", "b")}, "no region.*AWS_REGION"),
        ({"endpoint_url": "http://h", "region_name": "r"}, "no credentials.*AWS_ACCESS_KEY_ID"),
    ):
        world = World(core(**{**nothing, **given}))
        with pytest.raises(ConfigurationError, match=f"(?s){told}") as caught:
            world.invoke()
        assert (world.sent, caught.value.attempts, caught.value.may_have_run) == ([], 0, False)


def test_an_unknown_profile_is_named() -> None:
    world = World(core(environ={}, profile_name="nobody", credentials=None, region_name=None))
    with pytest.raises(ConfigurationError, match=r"nobody.*AWS_CONFIG_FILE"):
        world.invoke()


def test_keys_are_an_argument_variables_or_the_profiles(profiles: dict[str, str]) -> None:
    variables = {"AWS_ACCESS_KEY_ID": "AKIDVARIABLE", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}

    def key_of(environ: dict[str, str], **options: Any) -> str:
        world = World(core(environ=environ, **{"credentials": None, **options}), answer())
        world.invoke()
        found = world.sent[0].headers["authorization"]
        return found.partition("Credential=")[2].partition("/")[0]

    assert key_of(variables, credentials=Credentials("AKIDGIVEN", "s")) == "AKIDGIVEN"
    assert key_of(variables, credentials=lambda: Credentials("AKIDASKED", "s")) == "AKIDASKED"
    assert key_of(variables) == "AKIDVARIABLE"
    assert key_of(variables | profiles | {"AWS_PROFILE": "work"}) == "AKIDVARIABLE"
    assert key_of(profiles | {"AWS_PROFILE": "work"}) == "AKIDPROFILE"
    # A profile that is asked for by an argument was meant.
    assert key_of(variables | profiles, profile_name="work") == "AKIDPROFILE"


def test_a_call_may_have_keys_of_its_own() -> None:
    world = World(core(), answer(), answer())
    world.invoke(credentials=Credentials("AKIDOTHER", "s", "token"), region_name="eu-west-1")
    world.invoke()
    assert "Credential=AKIDOTHER/20261120/eu-west-1/" in world.sent[0].headers["authorization"]
    assert world.sent[0].headers["x-amz-security-token"] == "token"
    assert "Credential=AKIDEXAMPLE/20261120/us-east-1/" in world.sent[1].headers["authorization"]


def test_half_a_key_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY"):
        World(core(credentials=None, environ={"AWS_ACCESS_KEY_ID": "a"})).invoke()


def test_a_callable_is_asked_before_each_attempt() -> None:
    keys = iter([Credentials("FIRST", "s"), Credentials("SECOND", "s")])
    world = World(core(ManualClock(NOW), credentials=lambda: next(keys)), answer(429), answer())
    world.invoke()
    assert ["FIRST" in each.headers["authorization"] for each in world.sent] == [True, False]


def test_what_a_callable_raises_reaches_the_caller() -> None:
    def refuse() -> Credentials:
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        World(core(credentials=refuse)).invoke()
    with pytest.raises(ConfigurationError, match="dict"):
        World(core(credentials=dict)).invoke()


def test_unsigned_calls_carry_neither_a_signature_nor_a_date_and_need_no_region() -> None:
    world = World(core(credentials=UNSIGNED, region_name=None), answer())
    world.invoke()
    assert not {"authorization", "x-amz-date"} & world.sent[0].headers.keys()


def test_the_program_has_a_name_in_the_user_agent() -> None:
    world = World(core(app_id="my app/1"), answer())
    world.invoke()
    assert world.sent[0].headers["user-agent"].endswith(" app/my-app-1")
    assert settings({"AWS_SDK_UA_APP_ID": "x"}).user_agent().endswith(" app/x")


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://q:2"}, "https://h", "http://p:1"),
        ({"https_proxy": "p:1"}, "https://h", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://h", None),
        ({"HTTP_PROXY": "http://q:2", "NO_PROXY": "a, .example.com"}, "http://x.example.com", None),
        ({"HTTP_PROXY": "http://q:2", "NO_PROXY": "example.com:80"}, "http://example.com", None),
        ({"HTTP_PROXY": "http://q:2", "NO_PROXY": "ample.com"}, "http://example.com", "http://q:2"),
        ({"HTTP_PROXY": "http://q:2", "no_proxy": "*"}, "http://h", None),
        ({"HTTP_PROXY": "http://q:2", "NO_PROXY": "::1"}, "http://[::1]:5", None),
        ({"HTTP_PROXY": ""}, "http://h", None),
    ],
)
def test_proxies_stand_in_the_usual_variables(environ: dict[str, str], url: str, proxy: str | None) -> None:
    assert settings(environ).proxy(parse_endpoint(url)) == proxy


def test_a_file_of_authorities_stands_in_a_variable_or_the_profile(profiles: dict[str, str]) -> None:
    assert settings({"AWS_CA_BUNDLE": "/a", "REQUESTS_CA_BUNDLE": "/b"}).ca_bundle() == "/a"
    assert settings({"REQUESTS_CA_BUNDLE": "/b"}).ca_bundle() == "/b"
    assert settings(profiles, profile_name="work").ca_bundle() == "/ca.pem"


@pytest.mark.parametrize("text", ["0", "x", "-1"])
def test_a_number_of_attempts_that_is_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="AWS_MAX_ATTEMPTS"):
        World(core(environ={"AWS_MAX_ATTEMPTS": text})).invoke()
