"""Byte code that the server had compiled when the code was deployed.

``sys.pycache_prefix`` would redirect the standard library's own byte code too, and a
function that imports ``http.client`` would compile all of it at every cold start. So only
files below the function's folders are looked up in the server's prefix, and functions
never write byte code: the prefix belongs to the server, and AWS's ``/var/task`` is
read-only.
"""

from __future__ import annotations

import os
import sys
from typing import Any

# Python's own layout (PEP 552): magic number, flags, then the source's hash.
_UNCHECKED_HASH = (0b01).to_bytes(4, "little")
# A package with more files than this is left to be compiled at import.
_MAX_FILES = 50_000


def _cached_path(prefix: str, source: str) -> str:
    """Return where the byte code of ``source`` lies, as ``sys.pycache_prefix`` lays it out."""
    folder, _, name = source.rpartition("/")
    return f"{prefix}{folder}/{name.rpartition('.')[0]}.{sys.implementation.cache_tag}.pyc"


def use_compiled(prefix: str, folders: list[str]) -> None:
    """Let imports from ``folders`` find byte code below ``prefix``."""
    external: Any = sys.modules["_frozen_importlib_external"]
    usual = external.cache_from_source
    roots = tuple(folder.rstrip("/") + "/" for folder in folders)
    prefix = prefix.rstrip("/")

    def cache_from_source(path: Any, *args: object, **options: object) -> str:
        if isinstance(path, str) and path.startswith(roots) and not sys.flags.optimize:
            return _cached_path(prefix, path)
        found: str = usual(path, *args, **options)
        return found

    external.cache_from_source = cache_from_source


def compile_folder(folder: str, prefix: str) -> None:
    """Compile every ``.py`` below ``folder``, as far as it can be compiled.

    The byte code is not checked against its source again: another state of the code needs
    another ``prefix`` (or another ``folder``). Links to folders directly inside ``folder``
    are followed, deeper ones are not.
    """
    prefix = prefix.rstrip("/")
    folder = folder.rstrip("/")
    left = _MAX_FILES
    roots = [folder]
    try:
        with os.scandir(folder) as entries:
            roots += [entry.path for entry in entries if entry.is_symlink() and entry.is_dir()]
    except OSError:
        return
    for root in roots:
        for where, folders, names in os.walk(root):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in names:
                if name.endswith(".py"):
                    _compile_file(f"{where}/{name}", prefix)
                    left -= 1
                    if not left:
                        return


def _compile_file(source: str, prefix: str) -> None:
    # Only ever imported by the process that compiles.
    import importlib.util
    import marshal
    import warnings
    from importlib.machinery import SourceFileLoader

    try:
        with open(source, "rb") as file:
            data = file.read()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            code = SourceFileLoader("<compile>", source).source_to_code(data, source)
        if any(issubclass(warning.category, SyntaxWarning) for warning in caught):
            # AWS keeps no byte code, so users see this warning at every cold start.
            return
        header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(data)
        target = _cached_path(prefix, source)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        unfinished = f"{target}.{os.getpid()}"
        with open(unfinished, "wb") as output:
            output.write(header + marshal.dumps(code))
        os.replace(unfinished, target)
    except Exception:
        # Whatever is wrong with the file is for its import to say.
        return
