"""The script that the server starts: ``PYTHON -I -S zygote.py FD``.

It is a zygote on the control socket FD (see ``parent.py``); in each forked child it goes
on as the function. ``--parked=N`` is the number of children to fork in advance, 1 unless given;
``--hold=FD`` is a descriptor that stays open until the zygote ends, and in no function.

``PYTHON -S zygote.py FD --exec-variables`` serves functions with variables that are only
read when a program starts (``LD_*``, ``PYTHON*``, ``MALLOC_*``): the server gives exactly
those to the zygote, and the interpreter obeys them because ``-I`` is missing.

The functions return up to here before anything of the user runs, so that exceptions,
``sys.exit``, threads and ``atexit`` of a function meet the interpreter's own end of program.
"""

from __future__ import annotations

import sys
from typing import Any

_PACKAGE = "_lambent_bootstrap"


def _load(name: str) -> Any:
    """Import a module of this folder under a name that no user's module can have.

    The folder never stands on ``sys.path``: ``import context`` belongs to the user.
    """
    import importlib.util

    if _PACKAGE not in sys.modules:
        folder = __file__.rpartition("/")[0] or "."
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, f"{folder}/__init__.py", submodule_search_locations=[folder]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[_PACKAGE] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{_PACKAGE}.{name}")


def _add_builtins_of_site() -> None:
    """Add what ``-S`` leaves out and programs use, ``exit()`` above all."""
    import _sitebuiltins
    import builtins
    import os

    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.help = _sitebuiltins._Helper()
    builtins.copyright = _sitebuiltins._Printer("copyright", sys.copyright)
    builtins.credits = _sitebuiltins._Printer("credits", "See www.python.org for more information.")
    builtins.license = _sitebuiltins._Printer(
        "license", "See https://www.python.org/psf/license/", ["LICENSE.txt", "LICENSE"], [os.curdir]
    )


def _main(arguments: list[str]) -> None:
    folder = __file__.rpartition("/")[0]
    if "--exec-variables" in arguments and sys.path[:1] == [folder]:
        del sys.path[0]  # where scripts find their modules; -I leaves it out
    _add_builtins_of_site()
    numbers = {"--parked": 1, "--hold": -1}
    for word in arguments[1:]:
        name, is_given, value = word.partition("=")
        if is_given:
            numbers[name] = int(value)
    child = _load("child")
    zygote, role = _load("parent").start(int(arguments[0]), numbers["--parked"], numbers["--hold"])
    if role is None:
        return
    zygote.close_descriptors()
    child.leave_zygote(zygote.pid)
    child.become_function(role if isinstance(role, child.Spawn) else child.wait_parked(role))


if __name__ == "__main__":
    _main(sys.argv[1:])
