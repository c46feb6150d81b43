"""Every AWS quota as data: name, value, unit, source.

A :class:`Limit` *is* an ``int``, so code on the hot path compares with it and formats
it like any number, and a reader still finds out where the number comes from::

    if len(body) > limits.SYNC_REQUEST_BYTES: ...
    limits.SYNC_REQUEST_BYTES.source        # 'docs/aws-behaviour.md, invoke 1.1'
    limits.table()["SYNC_REQUEST_BYTES"]    # for the documentation and its test

Units: ``bytes``, ``characters``, ``s``, ``ms``, ``MB`` (2**20 bytes), ``count``,
``count/s``. All limits are inclusive: a value equal to the limit passes, unless
the comment beside it says otherwise. What a user may change (the account's
concurrency, for one) is a setting whose default stands here.
"""

from __future__ import annotations

from typing import Self


class Limit(int):
    """A quota: an int that knows its unit and its source."""

    unit: str
    source: str

    def __new__(cls, value: int, unit: str, source: str) -> Self:
        """Make a limit of ``value`` ``unit``; ``source`` is a public name of where it is said."""
        limit = super().__new__(cls, value)
        limit.unit = unit
        limit.source = source
        return limit

    def __getnewargs__(self) -> tuple[int, str, str]:  # type: ignore[override]
        """Let copy and pickle rebuild the limit."""
        return int(self), self.unit, self.source


def table() -> dict[str, Limit]:
    """Return every limit by its name, in the order of this module."""
    return {name: value for name, value in globals().items() if isinstance(value, Limit)}


_INVOKE = "docs/aws-behaviour.md, invoke 1.1"
_CREATE = "docs/aws-behaviour.md, functions 7.4"
_LAYERS = "docs/aws-behaviour.md, functions 7.11"
_PHASES = "docs/aws-behaviour.md, execution 4.1"
_SYSTEM = "docs/aws-behaviour.md, execution 4.2"
_RATES = "docs/aws-behaviour.md, concurrency 3.1"
_ASYNC = "docs/aws-behaviour.md, async 2.2"

# -- Invoke --------------------------------------------------------------------

SYNC_REQUEST_BYTES = Limit(6_291_456, "bytes", _INVOKE)
ASYNC_REQUEST_BYTES = Limit(1_048_576, "bytes", _INVOKE)
# 6 MiB + 100, measured on the runtime's raw output.
SYNC_RESPONSE_BYTES = Limit(6_291_556, "bytes", _INVOKE)
STREAMED_RESPONSE_BYTES = Limit(209_715_200, "bytes", _INVOKE)
# The beginning of a streamed response is sent as fast as it comes …
STREAM_BURST_BYTES = Limit(6_291_456, "bytes", _INVOKE)
# … the rest at this many bytes a second.
STREAM_RATE_BYTES_PER_S = Limit(2_097_152, "bytes", _INVOKE)
REQUEST_HEAD_BYTES = Limit(1_048_576, "bytes", _INVOKE)
# Counted on the base64 text.
CLIENT_CONTEXT_BYTES = Limit(3_583, "bytes", _INVOKE)
LOG_TAIL_BYTES = Limit(4_096, "bytes", "docs/aws-behaviour.md, invoke 1.2")
QUALIFIED_NAME_CHARACTERS = Limit(256, "characters", "the service model, NamespacedFunctionName")
QUALIFIER_CHARACTERS = Limit(128, "characters", "the service model, NumericLatestPublishedOrAliasQualifier")

# -- Functions -----------------------------------------------------------------

# What Create takes as a whole (an ARN, say) …
FUNCTION_NAME_CHARACTERS = Limit(140, "characters", "the service model, FunctionName")
# … and what the bare name in it may have.
BARE_NAME_CHARACTERS = Limit(64, "characters", "docs/aws-behaviour.md, functions 7.5")
TIMEOUT_S_MIN = Limit(1, "s", _CREATE)
# The model allows 5,400, which AWS gives to capacity providers only.
TIMEOUT_S_MAX = Limit(900, "s", _CREATE)
MEMORY_MB_MIN = Limit(128, "MB", _CREATE)
# The model allows 32,768, which AWS gives to managed instances only.
MEMORY_MB_MAX = Limit(10_240, "MB", _CREATE)
EPHEMERAL_STORAGE_MB_MIN = Limit(512, "MB", _CREATE)
EPHEMERAL_STORAGE_MB_MAX = Limit(10_240, "MB", _CREATE)
DESCRIPTION_CHARACTERS = Limit(256, "characters", _CREATE)
HANDLER_CHARACTERS = Limit(128, "characters", _CREATE)
# Of the variables as compact JSON.
ENVIRONMENT_BYTES = Limit(4_096, "bytes", _CREATE)
TAGS_COUNT = Limit(50, "count", _CREATE)
TAG_KEY_CHARACTERS = Limit(128, "characters", _CREATE)
TAG_VALUE_CHARACTERS = Limit(256, "characters", _CREATE)
FUNCTION_LAYERS_COUNT = Limit(5, "count", _CREATE)
SUBNETS_COUNT = Limit(16, "count", _CREATE)
SECURITY_GROUPS_COUNT = Limit(5, "count", _CREATE)
FILE_SYSTEMS_COUNT = Limit(1, "count", _CREATE)
CREATE_REQUEST_BYTES = Limit(70_167_211, "bytes", _CREATE)
CONFIGURATION_REQUEST_BYTES = Limit(5_120, "bytes", _CREATE)
# AWS tells no general bound for the other operations; ours is Invoke's.
OTHER_REQUEST_BYTES = Limit(6_291_456, "bytes", "our choice, from SYNC_REQUEST_BYTES")
ZIPPED_CODE_BYTES = Limit(52_428_800, "bytes", _CREATE)
# Exclusive: a package of exactly this size is refused.
UNZIPPED_CODE_BYTES = Limit(262_144_000, "bytes", _CREATE)
ACCOUNT_CODE_BYTES = Limit(80_530_636_800, "bytes", "docs/aws-behaviour.md, functions 7.15")
LIST_PAGE = Limit(50, "count", "docs/aws-behaviour.md, functions 7.9")
CODE_LOCATION_S = Limit(600, "s", "docs/aws-behaviour.md, functions 7.3")
LAYER_RUNTIMES_COUNT = Limit(15, "count", _LAYERS)
LAYER_ARCHITECTURES_COUNT = Limit(2, "count", _LAYERS)
POLICY_BYTES = Limit(20_480, "bytes", "docs/aws-behaviour.md, versions-permissions 5.6")
ALIAS_WEIGHTS_COUNT = Limit(1, "count", "docs/aws-behaviour.md, versions-permissions 5.2")

# -- Signatures ----------------------------------------------------------------

# To both sides of a signature's time.
SIGNATURE_WINDOW_S = Limit(300, "s", "docs/aws-behaviour.md, versions-permissions 5.5")
PRESIGNED_S_MIN = Limit(1, "s", "docs/aws-behaviour.md, versions-permissions 5.8")
PRESIGNED_S_MAX = Limit(604_800, "s", "docs/aws-behaviour.md, versions-permissions 5.8")

# -- Recursion -----------------------------------------------------------------

RECURSIVE_RUNS = Limit(16, "count", "docs/aws-behaviour.md, async 2.5")

# -- Sessions ------------------------------------------------------------------

# An environment ends in good time before its keys do.
SESSION_S = Limit(43_200, "s", "docs/aws-behaviour.md, versions-permissions 5.8")
ENVIRONMENT_LIFE_S = Limit(28_800, "s", "docs/aws-behaviour.md, versions-permissions 5.8")

# -- Event invocations ---------------------------------------------------------

EVENT_RETRIES_MAX = Limit(2, "count", _ASYNC)
EVENT_AGE_S_MIN = Limit(60, "s", _ASYNC)
EVENT_AGE_S_MAX = Limit(21_600, "s", _ASYNC)

# -- Concurrency ---------------------------------------------------------------

ACCOUNT_CONCURRENCY = Limit(1_000, "count", _RATES)
UNRESERVED_CONCURRENCY_MIN = Limit(100, "count", _RATES)
# Requests a second for each unit of concurrency.
REQUEST_RATE_PER_CONCURRENCY = Limit(10, "count/s", _RATES)
# New environments of one function in each SCALE_OUT_INTERVAL_S.
SCALE_OUT_ENVIRONMENTS = Limit(1_000, "count", _RATES)
SCALE_OUT_INTERVAL_S = Limit(10, "s", _RATES)
CONTROL_RATE = Limit(15, "count/s", _RATES)
GET_FUNCTION_RATE = Limit(100, "count/s", _RATES)
GET_POLICY_RATE = Limit(15, "count/s", _RATES)

# -- Execution environments ----------------------------------------------------

INIT_S = Limit(10, "s", _PHASES)
# Provisioned concurrency and SnapStart: max(this, the function's timeout).
EXTENDED_INIT_S = Limit(130, "s", _PHASES)
EXTENDED_INIT_S_MAX = Limit(900, "s", _PHASES)
RESTORE_S = Limit(10, "s", _PHASES)
SHUTDOWN_MS_WITHOUT_EXTENSIONS = Limit(0, "ms", _PHASES)
SHUTDOWN_MS_INTERNAL_EXTENSIONS = Limit(500, "ms", _PHASES)
SHUTDOWN_MS_EXTERNAL_EXTENSIONS = Limit(2_000, "ms", _PHASES)
OPEN_FILES = Limit(1_024, "count", _SYSTEM)
PROCESSES = Limit(1_024, "count", _SYSTEM)
STACK_BYTES = Limit(8_388_608, "bytes", _SYSTEM)
CORE_BYTES = Limit(10_737_418_240, "bytes", _SYSTEM)
LOCKED_MEMORY_BYTES = Limit(65_536, "bytes", _SYSTEM)
MEMORY_MB_PER_CPU = Limit(1_769, "MB", _SYSTEM)
EXTENSIONS_COUNT = Limit(10, "count", "docs/aws-behaviour.md, execution 4.8")
