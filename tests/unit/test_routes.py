"""Paths to operations: the whole model, and the traps of docs/aws-behaviour.md, operations 6."""

from __future__ import annotations

import pytest

from lambent.api.routes import Route, match
from lambent.api.service_model import load_service_model
from lambent.model.errors import UnknownOperationException

OPERATIONS = load_service_model()["operations"]
FUNCTION = {"FunctionName": "f"}


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_operation_is_found_by_its_own_path(operation: str) -> None:
    path, _, query = OPERATIONS[operation]["http"]["requestUri"].partition("?")
    pairs = [(query.partition("=")[0], query.partition("=")[2])] if query else []
    raw = path.replace("{", "%7B").replace("}", "%7D")
    route = match(OPERATIONS[operation]["http"]["method"], raw.encode(), pairs)
    assert route.operation == operation
    assert all(value == f"{{{name}}}" for name, value in route.labels.items())
    assert len(route.labels) == path.count("{")


@pytest.mark.parametrize(
    ("method", "path", "query", "route"),
    [
        ("GET", "/2018-10-31/layers", "", Route("ListLayers", {})),
        ("GET", "/2018-10-31/layers", "find=LayerVersion", Route("GetLayerVersionByArn", {})),
        ("GET", "/2018-10-31/layers", "find=Other", Route("ListLayers", {})),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "List=ALL",
            Route("ListProvisionedConcurrencyConfigs", FUNCTION),
        ),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "Qualifier=1",
            Route("GetProvisionedConcurrencyConfig", FUNCTION),
        ),
        ("PUT", "/2017-10-31/functions/f/concurrency", "", Route("PutFunctionConcurrency", FUNCTION)),
        ("GET", "/2019-09-30/functions/f/concurrency", "", Route("GetFunctionConcurrency", FUNCTION)),
        (
            "PUT",
            "/2019-09-25/functions/f/event-invoke-config",
            "",
            Route("PutFunctionEventInvokeConfig", FUNCTION),
        ),
        (
            "POST",
            "/2019-09-25/functions/f/event-invoke-config",
            "",
            Route("UpdateFunctionEventInvokeConfig", FUNCTION),
        ),
        ("GET", "/2015-03-31/functions/", "", Route("ListFunctions", {})),
        ("POST", "/2014-11-13/functions/f/invoke-async/", "", Route("InvokeAsync", FUNCTION)),
        ("POST", "/2014-11-13/functions/f/invoke-async", "", Route("InvokeAsync", FUNCTION)),
        # An empty name is validation's to refuse.
        ("POST", "/2015-03-31/functions//invocations", "", Route("Invoke", {"FunctionName": ""})),
        # Labels are decoded after matching, once.
        ("GET", "/2015-03-31/functions/a%2Fb", "", Route("GetFunction", {"FunctionName": "a/b"})),
        ("GET", "/2015-03-31/functions/f%253A1", "", Route("GetFunction", {"FunctionName": "f%3A1"})),
        ("GET", "/2015-03-31/functions/f:1", "", Route("GetFunction", {"FunctionName": "f:1"})),
        ("GET", "/2015-03-31/functions/%FF", "", Route("GetFunction", {"FunctionName": "\ufffd"})),
        ("GET", "/2015-03-31/functions/a+b", "", Route("GetFunction", {"FunctionName": "a+b"})),
        (
            "GET",
            "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af",
            "",
            Route("ListTags", {"Resource": "arn:aws:lambda:us-east-1:123456789012:function:f"}),
        ),
        (
            "GET",
            "/2015-03-31/functions/f/aliases/live",
            "",
            Route("GetAlias", {"FunctionName": "f", "Name": "live"}),
        ),
    ],
)
def test_paths_that_are_easily_taken_for_another(method: str, path: str, query: str, route: Route) -> None:
    name, _, value = query.partition("=")
    assert match(method, path.encode(), [(name, value)] if query else []) == route


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "*",
        "/2015-03-31",
        "/2015-03-31/function",
        "/2016-01-01/functions",
        "/2015-03-31/functions/a/b/invocations",
        "/2015-03-31/functions/f/invocations/x",
        "//2015-03-31/functions",
        "/2015-03-31/functions/f/invocations//",
        "/x" * 5000,
    ],
)
def test_unknown_paths_are_404(path: str) -> None:
    with pytest.raises(UnknownOperationException) as refusal:
        match("POST", path.encode(), [])
    assert (refusal.value.status, refusal.value.body()) == (404, {"Message": "Unknown operation"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/2015-03-31/functions/f/invocations"),
        ("HEAD", "/2015-03-31/functions"),
        ("PUT", "/2018-10-31/layers"),
    ],
)
def test_known_paths_with_another_method_are_405(method: str, path: str) -> None:
    with pytest.raises(UnknownOperationException) as refusal:
        match(method, path.encode(), [])
    assert refusal.value.status == 405
