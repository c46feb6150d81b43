"""Settings: one table, read once at the door, one frozen object passed in.

The dataclasses below *are* the table. Each field states its default, what it
accepts, its unit, its flag and its meaning; from that come the options of
``lambent serve``, ``docs/settings.md`` and the errors. A field ``port`` of table
``server`` has these names::

    server.port          in lambent.toml
    LAMBENT_SERVER_PORT  in the environment (lists are comma-separated)
    --port               on the command line, where the row has a flag
    settings.server.port in the code

Precedence, highest first: flags, environment, ``lambent.toml``, defaults. The
file is the one named by ``--config``, else ``lambent.toml`` of the current
directory if there is one. An unknown key or variable is an error, and so is a bad
value; an empty variable counts as not given. Durations are seconds.

This is the only module that looks at the process's environment variables.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

import platformdirs

T = TypeVar("T")

FILE_NAME = "lambent.toml"
ENDPOINT_VARIABLE = "LAMBENT_ENDPOINT"
MEMORY = ":memory:"

_PREFIX = "LAMBENT_"
_RUNTIME = re.compile(
    r"python3\.\d+|nodejs\d+\.x|java\d+(\.al2)?|dotnet\d+|ruby\d+\.\d+|provided\.al2(023)?", re.ASCII
)
_SERVED_RUNTIME = re.compile(r"python3\.(9|[1-9]\d)", re.ASCII)


class ConfigurationError(Exception):
    """A setting cannot be used as it is given; the text says what would be accepted."""


# --------------------------------------------------------------------------- kinds of values


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a setting accepts, in words and as a function.

    Attributes:
        accepts: completes the sentence "accepted is …".
        read: gives the value for what a file, variable or flag holds; relative
            paths start at the second argument. Raises ``ValueError``.
    """

    accepts: str
    read: Callable[[object, Path], T]


def _require(condition: bool) -> None:  # noqa: FBT001 - an assertion's argument has no better name
    if not condition:
        raise ValueError


def _text(pattern: str, accepts: str) -> Kind[str]:
    def read(value: object, _base: Path) -> str:
        _require(isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None)
        return cast(str, value)

    return Kind(accepts, read)


def _optional(kind: Kind[T]) -> Kind[T | None]:
    return cast("Kind[T | None]", kind)


def _choice(*names: str) -> Kind[str]:
    return _text("|".join(map(re.escape, names)), f"one of {', '.join(names)}")


def _number(value: object, number: type[int | float]) -> float:
    _require(isinstance(value, (str, int, float)) and not isinstance(value, bool))
    _require(number is float or not isinstance(value, float))
    return number(cast(str, value))


def _whole(minimum: int, maximum: int | None = None) -> Kind[int]:
    def read(value: object, _base: Path) -> int:
        result = int(_number(value, int))
        _require(result >= minimum and (maximum is None or result <= maximum))
        return result

    bounds = f"from {minimum}" + ("" if maximum is None else f" to {maximum}")
    return Kind(f"a whole number {bounds}", read)


def _seconds(*, positive: bool = False) -> Kind[float]:
    def read(value: object, _base: Path) -> float:
        result = float(_number(value, float))
        _require(math.isfinite(result) and (result > 0 if positive else result >= 0))
        return result

    return Kind(f"a number of seconds, {'above 0' if positive else '0 or more'}", read)


def _several_seconds(count: int) -> Kind[tuple[float, ...]]:
    one = _seconds()

    def read(value: object, base: Path) -> tuple[float, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        _require(isinstance(parts, list) and len(parts) == count)
        return tuple(one.read(part, base) for part in cast("list[object]", parts))

    return Kind(f"{count} numbers of seconds, each 0 or more", read)


def _boolean(value: object, _base: Path) -> bool:
    if isinstance(value, bool):
        return value
    _require(isinstance(value, str) and value.lower() in _BOOLEANS)
    return _BOOLEANS[cast(str, value).lower()]


def _path(value: object, base: Path) -> Path:
    _require(isinstance(value, str) and value != "" and "\0" not in value)
    return base / Path(cast(str, value)).expanduser()


def _data_dir(value: object, base: Path) -> Path | None:
    return None if value == MEMORY else _path(value, base)


_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_BOOLEANS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
_FLAG = Kind("true or false", _boolean)
_FILE = _optional(Kind("a path", _path))
_URL = r"https?://[^/\s]+(/\S*)?"


# --------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    Attributes:
        key: ``table.name`` as in ``lambent.toml``.
        flag: option of ``lambent serve``, or None.
        default: in words where the value alone would not say it.
        served: the values that this version acts on, or None for all of them.
    """

    key: str
    kind: Kind[Any]
    default: str
    unit: str
    meaning: str
    flag: str | None
    served: tuple[object, ...] | None

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return _PREFIX + self.key.upper().replace(".", "_")

    @property
    def is_switch(self) -> bool:
        """Whether the flag stands alone, without a value."""
        return self.kind is _FLAG


@dataclass(frozen=True, slots=True)
class _Row:
    """What a field of a table carries in its metadata."""

    kind: Kind[Any]
    meaning: str
    unit: str
    flag: str | None
    served: tuple[object, ...] | None
    default: str


def _setting(
    kind: Kind[T],
    default: T | Callable[[], T],
    meaning: str,
    *,
    unit: str = "",
    flag: str | None = None,
    served: tuple[object, ...] | None = None,
    shown: str | None = None,
    secret: bool = False,
) -> T:
    """Declare a row as a dataclass field; ``shown`` words a default that no value says."""
    row = _Row(kind, meaning, unit, flag, served, _words(default) if shown is None else shown)
    made = {"default_factory": default} if callable(default) else {"default": default}
    return cast(T, field(**made, repr=not secret, metadata={"row": row}))


def _words(default: object) -> str:
    match default:
        case None:
            return "none"
        case bool():
            return str(default).lower()
        case int():
            return f"{default:,}"
        case float():
            return f"{default:,.0f}"
        case tuple():
            return ", ".join(map(_words, default))
        case _:
            return str(default)


def platform_data_dir() -> Path:
    """Return the folder for state by the platform's convention; it need not exist."""
    return platformdirs.user_data_path("lambent", appauthor=False)


# --------------------------------------------------------------------------- the table


@dataclass(frozen=True, slots=True)
class Server:
    """``[server]``: the process and its door. ``data_dir`` is None for ``:memory:``."""

    host: str = _setting(
        _text(r"\S+", "an address or a host name"), "127.0.0.1", "address to listen on", flag="--host"
    )
    port: int = _setting(
        _whole(0, 65535), 3001, "port to listen on; 0 picks a free one", flag="--port", shown="3001"
    )
    data_dir: Path | None = _setting(
        Kind("a folder, or :memory:", _data_dir),
        platform_data_dir,
        "state: functions, code, logs; `:memory:` keeps nothing after the end",
        flag="--data-dir",
        shown="the platform's user data directory",
    )
    key_file: Path | None = _setting(
        _FILE,
        None,
        "the keys that seal secrets in the data directory; made when missing, its owner's alone",
        flag="--key-file",
        shown="`keys` in the data directory",
    )
    account: str = _setting(
        _text(r"\d{12}", "12 digits, as text"),
        "000000000000",
        "account of callers whose access key id is not itself 12 digits",
        flag="--account",
    )
    region: str = _setting(
        _text(r"[a-z]+(-[a-z]+)+-\d+", "a region such as eu-west-1"),
        "us-east-1",
        "region of callers that sign with none",
        flag="--region",
    )
    tls_cert: Path | None = _setting(
        _FILE, None, "certificate chain (PEM): https on the same port", flag="--tls-cert"
    )
    tls_key: Path | None = _setting(_FILE, None, "private key (PEM) of the certificate", flag="--tls-key")
    workers: int = _setting(_whole(1), 1, "front processes", flag="--workers", served=(1,))
    shutdown_grace: float = _setting(
        _seconds(), 10.0, "time for running invocations to finish at shutdown", unit="s"
    )
    max_connections: int = _setting(_whole(1), 10_000, "open connections")
    request_timeout: float = _setting(
        _seconds(positive=True),
        60.0,
        "time for a request to arrive whole (never the time in which a function runs)",
        unit="s",
    )
    allow_unauthenticated: bool = _setting(
        _FLAG,
        False,
        "allow an address beyond loopback while `auth.level` is `none`",
        flag="--allow-unauthenticated",
    )
    admin_token: str | None = _setting(
        _optional(_text(r"[!-~]{16,}", "16 or more printable characters without spaces")),
        None,
        "opens the server's own controls (`lambent logs`, `top`) over the network to who sends it;"
        " without it they answer on the socket in the data directory alone",
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class Auth:
    """``[auth]``: who may call."""

    level: str = _setting(
        _choice("none", "sigv4"),
        "none",
        "`none`: any credentials or none; `sigv4`: signatures are checked, and policies (`lambent iam`)",
        flag="--auth",
    )


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``[sandbox]``: the walls around functions."""

    level: str = _setting(
        _choice("auto", "full", "process"),
        "auto",
        "`auto`: the best that this machine allows and that is complete; `full`: namespaces;"
        " `process`: a process of the server's user with resource limits",
        flag="--sandbox",
        served=("auto", "process"),
    )
    network: str = _setting(
        _choice("none", "outbound", "host"), "outbound", "what functions reach", served=("outbound",)
    )


@dataclass(frozen=True, slots=True)
class Runtimes:
    """``[runtimes]``: interpreters by identifier, and what happens without one."""

    missing: str = _setting(
        _choice("nearest", "refuse"),
        "nearest",
        "what an identifier without its interpreter gets: `nearest` (the next newer one, else the newest"
        " older one; with a warning) or `refuse`",
    )
    interpreters: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Execution:
    """``[execution]``: environments."""

    idle_timeout: float = _setting(_seconds(), 600.0, "life of an idle environment", unit="s")


@dataclass(frozen=True, slots=True)
class Async:
    """``[async]``: invocations of type Event."""

    retry_delays: tuple[float, ...] = _setting(
        _several_seconds(2), (60.0, 120.0), "before the second and the third attempt", unit="s"
    )
    max_backlog: int = _setting(_whole(1), 10_000_000, "waiting events")
    dead_letter_retention: float = _setting(
        _seconds(), 1_209_600.0, "how long dead letters are kept", unit="s"
    )


@dataclass(frozen=True, slots=True)
class Concurrency:
    """``[concurrency]``: how much runs at once. ``machine_limit`` is None when not set."""

    account_limit: int = _setting(_whole(1), 1000, "concurrent invocations of one account and region")
    machine_limit: int | None = _setting(
        _optional(_whole(1)),
        None,
        "environments that this machine holds; idle ones of other functions end first",
        shown="from memory and cores, at least 64",
    )


@dataclass(frozen=True, slots=True)
class Logs:
    """``[logs]``: the functions' log lines."""

    max_bytes: int = _setting(_whole(0), 1 << 30, "what all logs may take on disk", unit="bytes")
    retention: float = _setting(_seconds(), 1_209_600.0, "how long log lines are kept", unit="s")


@dataclass(frozen=True, slots=True)
class Aws:
    """``[aws]``: the server's own calls to other services."""

    endpoint_url: str | None = _setting(
        _optional(_text(_URL + "|aws", "a URL, or aws")),
        None,
        "where the server's own calls go (code from S3, what became of events): a URL, or `aws` for AWS",
    )


@dataclass(frozen=True, slots=True)
class Functions:
    """``[functions]``: what functions find around them."""

    endpoint_url: str | None = _setting(
        _optional(_text(_URL, "a URL")),
        None,
        "`AWS_ENDPOINT_URL` inside functions: where their SDK finds services other than this one",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; made by :func:`load_settings`.

    Attributes:
        given: keys that were set anywhere, so not left to their defaults.
        source: the file that was read, if any.
    """

    server: Server = field(default_factory=Server)
    auth: Auth = field(default_factory=Auth)
    sandbox: Sandbox = field(default_factory=Sandbox)
    runtimes: Runtimes = field(default_factory=Runtimes)
    execution: Execution = field(default_factory=Execution)
    async_: Async = field(default_factory=Async)
    concurrency: Concurrency = field(default_factory=Concurrency)
    logs: Logs = field(default_factory=Logs)
    aws: Aws = field(default_factory=Aws)
    functions: Functions = field(default_factory=Functions)
    given: frozenset[str] = frozenset()
    source: Path | None = None

    def value(self, key: str) -> object:
        """Return the value of ``table.name``."""
        table, name = key.split(".", 1)
        return getattr(getattr(self, _attribute(table)), name)


_TABLES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "server": Server,
        "auth": Auth,
        "sandbox": Sandbox,
        "runtimes": Runtimes,
        "execution": Execution,
        "async": Async,
        "concurrency": Concurrency,
        "logs": Logs,
        "aws": Aws,
        "functions": Functions,
    }
)


def _attribute(table: str) -> str:
    return "async_" if table == "async" else table


def _rows() -> Iterator[Setting]:
    for table, made in _TABLES.items():
        for each in dataclasses.fields(made):
            row: _Row | None = each.metadata.get("row")
            if row is not None:
                yield Setting(
                    f"{table}.{each.name}", row.kind, row.default, row.unit, row.meaning, row.flag, row.served
                )


TABLE: tuple[Setting, ...] = tuple(_rows())
_BY_KEY = {setting.key: setting for setting in TABLE}
_BY_VARIABLE = {setting.variable: setting for setting in TABLE}
_INTERPRETER = Kind("the path of an interpreter", _path)


# --------------------------------------------------------------------------- loading


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as it was found: where, and the folder that relative paths start from."""

    value: object
    origin: str
    base: Path


def load_settings(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path) -> Settings:
    """Read the settings from everything that may set them.

    Args:
        flags: values by key (``server.port``); None means not given. The key
            ``config`` holds the path of the file, which then has to exist.
        environ: environment variables.
        cwd: where ``lambent.toml`` is looked for; relative paths in flags and
            variables start here, those in the file at the file's folder.

    Raises:
        ConfigurationError: an unknown key or variable, a bad value, a bad file.
    """
    named = flags.get("config")
    file = cwd / Path(str(named)).expanduser() if named is not None else cwd / FILE_NAME
    exists = named is not None or file.is_file()
    given = {
        **(_from_file(file) if exists else {}),
        **_from_environ(environ, cwd),
        **_from_flags(flags, cwd),
    }
    values = {key: _value(key, found) for key, found in given.items()}
    return _settings(values, file if exists else None)


def load_settings_here(flags: Mapping[str, object]) -> Settings:
    """Read the settings for this process: its environment variables, its directory.

    Raises:
        ConfigurationError: as :func:`load_settings`.
    """
    return load_settings(flags, os.environ, Path.cwd())


def environment() -> Mapping[str, str]:
    """Return this process's environment variables, for who has to hand some on."""
    return os.environ


def _settings(values: Mapping[str, object], source: Path | None) -> Settings:
    tables: dict[str, dict[str, object]] = {table: {} for table in _TABLES}
    interpreters: dict[str, object] = {}
    for key, value in values.items():
        table, name = key.split(".", 1)
        (tables[table] if key in _BY_KEY else interpreters)[name] = value
    tables["runtimes"]["interpreters"] = MappingProxyType(interpreters)
    built: dict[str, Any] = {_attribute(table): made(**tables[table]) for table, made in _TABLES.items()}
    return Settings(**built, given=frozenset(values), source=source)


def _value(key: str, found: _Given) -> object:
    kind = _BY_KEY[key].kind if key in _BY_KEY else _INTERPRETER
    try:
        return kind.read(found.value, found.base)
    except ValueError:
        shown = "…" if key == "server.admin_token" else repr(found.value)
        raise ConfigurationError(
            f"{key} = {shown} ({found.origin}) cannot be used: accepted is {kind.accepts}."
        ) from None


def _from_flags(flags: Mapping[str, object], cwd: Path) -> dict[str, _Given]:
    known = {key: value for key, value in flags.items() if key != "config" and value is not None}
    return {key: _Given(value, f"flag {_BY_KEY[key].flag}", cwd) for key, value in known.items()}


def _from_environ(environ: Mapping[str, str], cwd: Path) -> dict[str, _Given]:
    names = [name for name in environ if name.startswith(_PREFIX) and name != ENDPOINT_VARIABLE]
    return {
        _key_of_variable(name): _Given(environ[name], f"variable {name}", cwd)
        for name in sorted(names)
        if environ[name] != ""
    }


def _key_of_variable(name: str) -> str:
    if name in _BY_VARIABLE:
        return _BY_VARIABLE[name].key
    table, _, identifier = name.removeprefix(_PREFIX).lower().partition("_")
    key = f"{table}.{identifier.replace('_', '.')}"
    if _is_runtime(key):
        return key
    known = [*_BY_VARIABLE, ENDPOINT_VARIABLE, "LAMBENT_RUNTIMES_PYTHON3_13"]
    raise ConfigurationError(f"Unknown variable {name}: the nearest known one is {_nearest(name, known)}.")


def _from_file(file: Path) -> dict[str, _Given]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is not valid TOML: {error}.") from error
    found = dict(_flat(content))
    for key in found:
        if key not in _BY_KEY and not _is_runtime(key):
            nearest = _nearest(key, [*_BY_KEY, 'runtimes."python3.13"'])
            raise ConfigurationError(f"Unknown key {key} in {file}: the nearest known one is {nearest}.")
    return {key: _Given(value, str(file), file.parent) for key, value in found.items()}


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield dotted keys; so ``python3.13`` means the same with and without quotes."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _is_runtime(key: str) -> bool:
    table, _, identifier = key.partition(".")
    return table == "runtimes" and _RUNTIME.fullmatch(identifier) is not None


def _nearest(name: str, known: list[str]) -> str:
    """Return the likeliest meaning; leaving out the table is the commonest slip."""
    same_end = [each for each in known if each.endswith(name.removeprefix(_PREFIX.rstrip("_")))]
    return difflib.get_close_matches(name, same_end or known, n=1, cutoff=0.0)[0]


# --------------------------------------------------------------------------- what serve refuses


def check_servable(settings: Settings) -> None:
    """Refuse settings that a server cannot honour.

    Raises:
        ConfigurationError: a feature that is not there yet, half a TLS pair, or
            an open door without ``server.allow_unauthenticated``.
    """
    for key in sorted(settings.given):
        _check_served(key, settings)
    server = settings.server
    if (server.tls_cert is None) != (server.tls_key is None):
        raise ConfigurationError("server.tls_cert and server.tls_key belong together: give both or none.")
    if settings.auth.level == "none" and not server.allow_unauthenticated and not is_loopback(server.host):
        raise ConfigurationError(
            f"server.host = {server.host!r} opens this server to others and auth.level is none:"
            " give --allow-unauthenticated if that is what you want."
        )


def _check_served(key: str, settings: Settings) -> None:
    if key not in _BY_KEY:
        identifier = key.partition(".")[2]
        if _SERVED_RUNTIME.fullmatch(identifier) is None:
            raise ConfigurationError(f'runtimes."{identifier}" is not served by this version of Lambent.')
        return
    served = _BY_KEY[key].served
    if served is None or settings.value(key) in served:
        return
    instead = f"; it serves {', '.join(map(str, served))}" if served else ""
    raise ConfigurationError(
        f"{key} = {_words(settings.value(key))} is not served by this version of Lambent{instead}."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_endpoint(settings: Settings) -> str:
    """Return the URL at which a server with these settings is found from this machine."""
    server = settings.server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    scheme = "http" if server.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port or Server().port}"


# --------------------------------------------------------------------------- documentation


def render_settings_page() -> str:
    """Return ``docs/settings.md`` as it has to be."""
    head = _PAGE_HEAD.format(file=FILE_NAME, endpoint=ENDPOINT_VARIABLE)
    rows = "\n".join(_render_row(setting) for setting in TABLE)
    return f"{head}{rows}\n"


def _render_row(setting: Setting) -> str:
    flag = f"`{setting.flag}`" if setting.flag else ""
    default = f"{setting.default} {setting.unit}".strip()
    meaning = setting.meaning
    if setting.served == ():
        meaning += " (not served yet)"
    elif setting.served is not None:
        meaning += f" (served so far: {', '.join(f'`{value}`' for value in setting.served)})"
    accepts = setting.kind.accepts
    return f"| `{setting.key}` | {flag} | {default} | {accepts} | {meaning} |"


_PAGE_HEAD = """\
# Settings

<!-- Made from the table in src/lambent/config.py by `make docs`. -->

A setting `table.key` may be given in four places; the first that gives it wins:

1. the flag of `lambent serve`, where the row names one;
2. the variable `LAMBENT_TABLE_KEY`, lists comma-separated; an empty one counts as not given;
3. `{file}` of the current directory, or the file that `--config` names;
4. the default.

Durations are numbers of seconds. Relative paths in `{file}` start at the file's folder, all others at
the current directory. An unknown key, or an unknown variable that begins with `LAMBENT_`, is an error that
names the nearest known one; only `{endpoint}` is not a setting: it tells the commands where the server is.
A setting whose feature is not there yet makes `lambent serve` refuse, naming it.

`[runtimes]` also maps identifiers to interpreters, which otherwise are looked up on `PATH` and in the usual
places; in the environment `LAMBENT_RUNTIMES_PYTHON3_13=/opt/py/bin/python3.13`:

```toml
[server]
port = 3001

[runtimes]
missing = "refuse"
"python3.13" = "/opt/py/bin/python3.13"
```

| key | flag | default | accepted | meaning |
|---|---|---|---|---|
"""
