"""Modules that the zygote loads in quiet moments, so that functions find them loaded.

Standard library only, and only what costs many functions time: with these the import of
boto3 and the making of a client take half as long, and the zygote is 12 MB larger, which
all functions share. Left out is what keeps a secret or a state per process from its import
on (``multiprocessing`` draws an authentication key).

A function that brings a module of the same name gets its own (see ``child.py``).
"""

from __future__ import annotations

import importlib

_NAMES = (
    "base64 bisect calendar concurrent.futures.thread configparser copy csv dataclasses datetime "
    "email.message email.parser fnmatch getpass gzip hashlib heapq hmac html.parser http.client "
    "importlib.metadata importlib.resources inspect ipaddress locale mimetypes pathlib pickle "
    "platform random select selectors shlex shutil socket ssl subprocess tempfile urllib.request "
    "uuid xml.etree.ElementTree zipfile"
)


def names_to_load() -> list[str]:
    """Return the names, the one to begin with last."""
    return _NAMES.split()[::-1]


def load(name: str) -> None:
    """Load one module if this interpreter has it."""
    try:
        importlib.import_module(name)
    except ImportError:
        return  # built without the library that it needs; the function will be told
