"""The service model ``lambda/2015-03-31`` of the installed botocore, read once.

The file is read as it lies in the package: botocore's own loader would let
``AWS_DATA_PATH`` and ``~/.aws/models`` change what this server accepts.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources
import json
from typing import Any, TypeAlias

Model: TypeAlias = dict[str, Any]

_FOLDER = "data/lambda/2015-03-31"


@functools.cache
def load_service_model() -> Model:
    """Return the model with its prose left out; every caller gets the same object.

    Raises:
        FileNotFoundError: botocore is not whole, or it stores models in another way.
    """
    folder = importlib.resources.files("botocore").joinpath(_FOLDER)
    packed = folder.joinpath("service-2.json.gz")
    # Older releases stored plain JSON.
    if packed.is_file():
        text = gzip.decompress(packed.read_bytes())
    else:
        text = folder.joinpath("service-2.json").read_bytes()
    model: Model = json.loads(text)
    # The prose is two thirds of the model and would stay in memory for the server's life.
    for operation in model["operations"].values():
        operation.pop("documentation", None)
    for shape in model["shapes"].values():
        shape.pop("documentation", None)
        for member in shape.get("members", {}).values():
            member.pop("documentation", None)
    return model
