"""Settings: four sources, one precedence, and errors that say what would be right."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from lambent.config import (
    TABLE,
    ConfigurationError,
    Settings,
    check_servable,
    is_loopback,
    load_settings,
    local_endpoint,
)

NOTHING: Mapping[str, str] = {}


def settings_of(toml: str, folder: Path) -> Settings:
    (folder / "lambent.toml").write_text(toml)
    return load_settings({}, NOTHING, folder)


def with_variables(folder: Path, **variables: str) -> Settings:
    return load_settings({}, variables, folder)


# -- sources ---------------------------------------------------------------------


def test_defaults_are_those_of_the_table(tmp_path: Path) -> None:
    settings = load_settings({}, NOTHING, tmp_path)

    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 3001)
    assert settings.async_.retry_delays == (60.0, 120.0)
    assert settings.logs.max_bytes == 1 << 30
    assert settings.concurrency.machine_limit is None
    assert settings.given == frozenset()
    assert settings.source is None


def test_file_of_the_current_directory_is_read(tmp_path: Path) -> None:
    settings = settings_of('[server]\nport = 4000\nregion = "eu-west-1"\n', tmp_path)

    assert settings.server.port == 4000
    assert settings.server.region == "eu-west-1"
    assert settings.given == {"server.port", "server.region"}
    assert settings.source == tmp_path / "lambent.toml"


def test_variables_win_over_the_file_and_flags_over_variables(tmp_path: Path) -> None:
    (tmp_path / "lambent.toml").write_text('[server]\nport = 1\nhost = "a"\nregion = "eu-west-1"\n')
    environ = {"LAMBENT_SERVER_PORT": "2", "LAMBENT_SERVER_HOST": "b"}

    settings = load_settings({"server.port": "3", "server.host": None}, environ, tmp_path)

    assert (settings.server.port, settings.server.host, settings.server.region) == (3, "b", "eu-west-1")


def test_named_file_replaces_the_one_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "lambent.toml").write_text("[server]\nport = 1\n")
    (tmp_path / "other.toml").write_text("[server]\nmax_connections = 7\n")

    settings = load_settings({"config": "other.toml"}, NOTHING, tmp_path)

    assert (settings.server.port, settings.server.max_connections) == (3001, 7)


def test_named_file_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml cannot be read: No such file"):
        load_settings({"config": "nowhere.toml"}, NOTHING, tmp_path)


def test_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"lambent\.toml is not valid TOML: "):
        settings_of("server = [", tmp_path)


def test_variables_of_others_and_empty_ones_do_not_matter(tmp_path: Path) -> None:
    settings = with_variables(tmp_path, PATH="/bin", LAMBENT_SERVER_PORT="", LAMBENT_ENDPOINT="http://x")

    assert settings.given == frozenset()


def test_every_row_can_be_given_by_its_variable(tmp_path: Path) -> None:
    examples = {
        "server.host": "10.0.0.1",
        "server.data_dir": "data",
        "server.account": "123456789012",
        "server.region": "eu-west-1",
        "server.tls_cert": "cert.pem",
        "server.tls_key": "key.pem",
        "server.allow_unauthenticated": "yes",
        "server.admin_token": "0123456789abcdef",
        "auth.level": "sigv4",
        "sandbox.level": "full",
        "sandbox.network": "none",
        "runtimes.missing": "refuse",
        "async.retry_delays": "0.1, 2",
        "aws.endpoint_url": "aws",
        "functions.endpoint_url": "http://127.0.0.1:4566",
    }
    environ = {setting.variable: examples.get(setting.key, "5") for setting in TABLE}

    settings = load_settings({}, environ, tmp_path)

    assert settings.given == {setting.key for setting in TABLE}
    assert settings.server.data_dir == tmp_path / "data"
    assert settings.server.allow_unauthenticated is True
    assert settings.async_.retry_delays == (0.1, 2.0)
    assert settings.concurrency.machine_limit == 5


# -- single kinds ----------------------------------------------------------------


def test_relative_paths_start_at_who_names_them(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "lambent.toml").write_text('[server]\ndata_dir = "state"\ntls_key = "/abs/key"\n')

    settings = load_settings({"config": "etc/lambent.toml", "server.tls_cert": "c.pem"}, NOTHING, tmp_path)

    assert settings.server.data_dir == tmp_path / "etc" / "state"
    assert settings.server.tls_key == Path("/abs/key")
    assert settings.server.tls_cert == tmp_path / "c.pem"


def test_memory_means_no_data_directory(tmp_path: Path) -> None:
    assert with_variables(tmp_path, LAMBENT_SERVER_DATA_DIR=":memory:").server.data_dir is None


def test_admin_token_is_never_shown(tmp_path: Path) -> None:
    settings = with_variables(tmp_path, LAMBENT_SERVER_ADMIN_TOKEN="0123456789abcdef")
    assert "0123456789abcdef" not in repr(settings)

    with pytest.raises(ConfigurationError) as refused:
        with_variables(tmp_path, LAMBENT_SERVER_ADMIN_TOKEN="short")
    assert "short" not in str(refused.value)


@pytest.mark.parametrize("toml", ['"python3.13" = "/opt/py"', 'python3.13 = "/opt/py"'])
def test_interpreters_are_keyed_by_identifier_with_and_without_quotes(toml: str, tmp_path: Path) -> None:
    settings = settings_of(f"[runtimes]\n{toml}\n", tmp_path)

    assert settings.runtimes.interpreters == {"python3.13": Path("/opt/py")}


def test_interpreters_can_be_given_as_variables(tmp_path: Path) -> None:
    settings = with_variables(
        tmp_path, LAMBENT_RUNTIMES_PYTHON3_13="/a", LAMBENT_RUNTIMES_PROVIDED_AL2023="/b"
    )

    assert settings.runtimes.interpreters == {"python3.13": Path("/a"), "provided.al2023": Path("/b")}
    assert settings.runtimes.missing == "nearest"


# -- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("LAMBENT_SERVER_PORT", "http", "a whole number from 0 to 65535"),
        ("LAMBENT_SERVER_PORT", "65536", "a whole number from 0 to 65535"),
        ("LAMBENT_SERVER_ACCOUNT", "12345", "12 digits"),
        ("LAMBENT_SERVER_REGION", "Europe", "a region such as eu-west-1"),
        ("LAMBENT_SERVER_REQUEST_TIMEOUT", "0", "a number of seconds, above 0"),
        ("LAMBENT_SERVER_SHUTDOWN_GRACE", "-1", "a number of seconds, 0 or more"),
        ("LAMBENT_SERVER_SHUTDOWN_GRACE", "inf", "a number of seconds, 0 or more"),
        ("LAMBENT_SERVER_ALLOW_UNAUTHENTICATED", "maybe", "true or false"),
        ("LAMBENT_AUTH_LEVEL", "basic", "one of none, sigv4"),
        ("LAMBENT_ASYNC_RETRY_DELAYS", "60", "2 numbers of seconds"),
        ("LAMBENT_AWS_ENDPOINT_URL", "amazon", "a URL, or aws"),
    ],
)
def test_bad_value_names_key_value_source_and_what_is_accepted(
    variable: str, value: str, accepted: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({}, {variable: value}, tmp_path)

    text = str(refused.value)
    key = next(setting.key for setting in TABLE if setting.variable == variable)
    assert text.startswith(f"{key} = {value!r} (variable {variable}) cannot be used: accepted is {accepted}")


@pytest.mark.parametrize("toml", ["port = true", "port = 3.5", 'port = "x"', "port = [1]"])
def test_file_values_are_checked_by_type(toml: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"server\.port = .*lambent\.toml.*a whole number"):
        settings_of(f"[server]\n{toml}\n", tmp_path)


@pytest.mark.parametrize(
    ("toml", "unknown", "nearest"),
    [
        ("[server]\nprot = 1", "server.prot", "server.port"),
        ("[sever]\nport = 1", "sever.port", "server.port"),
        ("port = 1", "port", "server.port"),
        ('[runtimes]\n"pyton3.13" = "x"', "runtimes.pyton3.13", 'runtimes."python3.13"'),
        ("[server.port]\nnumber = 1", "server.port.number", "server.port"),
    ],
)
def test_unknown_key_names_the_nearest_known_one(
    toml: str, unknown: str, nearest: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings_of(toml, tmp_path)

    assert f"Unknown key {unknown} in " in str(refused.value)
    assert str(refused.value).endswith(f"the nearest known one is {nearest}.")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("LAMBENT_SERVER_PROT", "LAMBENT_SERVER_PORT"),
        ("LAMBENT_PORT", "LAMBENT_SERVER_PORT"),
        ("LAMBENT_ENDPOINTS", "LAMBENT_ENDPOINT"),
        ("LAMBENT_RUNTIMES_PYTHON313", "LAMBENT_RUNTIMES_PYTHON3_13"),
    ],
)
def test_unknown_variable_names_the_nearest_known_one(name: str, nearest: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"Unknown variable {name}: .* is {nearest}\."):
        load_settings({}, {name: "1"}, tmp_path)


# -- what serve refuses ----------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("LAMBENT_SERVER_WORKERS", "2", "server.workers = 2"),
        ("LAMBENT_SANDBOX_LEVEL", "full", "sandbox.level = full"),
        ("LAMBENT_SANDBOX_NETWORK", "none", "sandbox.network = none"),
        ("LAMBENT_RUNTIMES_NODEJS22_X", "/bin/node", 'runtimes."nodejs22.x"'),
    ],
)
def test_feature_that_is_not_there_yet_is_refused_by_name(
    variable: str, value: str, named: str, tmp_path: Path
) -> None:
    settings = load_settings({}, {variable: value}, tmp_path)

    with pytest.raises(ConfigurationError) as refused:
        check_servable(settings)
    assert str(refused.value).startswith(f"{named} is not served by this version of Lambent")


def test_values_that_are_served_pass(tmp_path: Path) -> None:
    check_servable(
        with_variables(
            tmp_path,
            LAMBENT_SERVER_WORKERS="1",
            LAMBENT_SANDBOX_LEVEL="process",
            LAMBENT_CONCURRENCY_ACCOUNT_LIMIT="10000",
            LAMBENT_RUNTIMES_PYTHON3_9="/bin/python3.9",
        )
    )


def test_certificate_and_key_belong_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="belong together"):
        check_servable(with_variables(tmp_path, LAMBENT_SERVER_TLS_CERT="c.pem"))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "myhost"])
def test_open_door_needs_an_explicit_word(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--allow-unauthenticated"):
        check_servable(with_variables(tmp_path, LAMBENT_SERVER_HOST=host))

    allowed = with_variables(tmp_path, LAMBENT_SERVER_HOST=host, LAMBENT_SERVER_ALLOW_UNAUTHENTICATED="true")
    check_servable(allowed)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_known_by_address_and_name(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://127.0.0.1:3001"),
        ({"LAMBENT_SERVER_PORT": "0"}, "http://127.0.0.1:3001"),
        ({"LAMBENT_SERVER_HOST": "0.0.0.0", "LAMBENT_SERVER_PORT": "80"}, "http://127.0.0.1:80"),
        ({"LAMBENT_SERVER_HOST": "::1"}, "http://[::1]:3001"),
        ({"LAMBENT_SERVER_TLS_CERT": "c"}, "https://127.0.0.1:3001"),
    ],
)
def test_endpoint_of_a_server_with_these_settings(
    variables: Mapping[str, str], url: str, tmp_path: Path
) -> None:
    assert local_endpoint(load_settings({}, variables, tmp_path)) == url
