"""Finds the user's handler, with AWS's words for everything that can go wrong on the way."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Callable

from .faults import Fault, TaskPaths


def load_handler(name: str, paths: TaskPaths) -> Callable[[Any, Any], Any]:
    """Import the user's module and return its handler.

    Args:
        name: ``module.function``; the module may be a path with ``/`` or dots.
        paths: how files are shown in messages.

    Raises:
        Fault: with the type that AWS gives to this mistake.
        Exception: whatever else the user's module raises while it is imported.
    """
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            "Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module"
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = paths.shown_message(str(error))
        raise Fault(
            "Runtime.ImportModuleError", f"Unable to import module '{module_name}': {message}"
        ) from None
    except SyntaxError as error:
        place = f'  File "{paths.shown(error.filename)}" Line {error.lineno}\n    {error.text}'
        raise Fault(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", [place]
        ) from None
    try:
        found: Callable[[Any, Any], Any] = getattr(module, function_name)
    except AttributeError:
        raise Fault(
            "Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'"
        ) from None
    return found
