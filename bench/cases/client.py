"""What the Python client costs beside boto3 and aiobotocore, which call the same address with the same event.

The C floor answers, so that no server is what is measured. Each client runs in a process of its own
(``bench/callers.py``), in turns. aiobotocore wants a botocore of its own, and gets it in a folder of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median

from bench.figures import Figure, Goal
from bench.rounds import Options
from bench.servers import ROOT, Floor

AIOBOTOCORE = ROOT / "bench" / ".build" / "aiobotocore"
GOAL_CPU = 0.45
GOAL_RATE = 4.0
GOAL_START = 0.4

_KINDS = ("boto3", "lambent", "aiobotocore", "lambent-async", "import-boto3", "import-lambent")


def run(options: Options) -> list[Figure]:
    """Return CPU per call, rate of 64 in flight, and the way to the first answer."""
    if not AIOBOTOCORE.exists():
        install = ["install", "--quiet", "--disable-pip-version-check", "--target", str(AIOBOTOCORE)]
        subprocess.run([sys.executable, "-m", "pip", *install, "aiobotocore"], check=True)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    with Floor() as floor:
        for _ in range(options.rounds):
            for kind in _KINDS:
                found[kind].append(_measure(kind, floor.port, options.seconds))
    cpu_us = {kind: median(each["cpu"] / each["calls"] * 1e6 for each in found[kind]) for kind in _KINDS}
    rate = {kind: median(each["calls"] / each["wall"] for each in found[kind]) for kind in _KINDS}
    return [
        Figure(
            "client: CPU per call, to boto3", "µs", cpu_us["boto3"], cpu_us["lambent"], Goal("≤", GOAL_CPU)
        ),
        Figure(
            "client: 64 in flight, to aiobotocore",
            "/s",
            rate["aiobotocore"],
            rate["lambent-async"],
            Goal("≥", GOAL_RATE),
        ),
        Figure(
            "client: import to first answer, to boto3",
            "ms",
            cpu_us["import-boto3"] / 1000,
            cpu_us["import-lambent"] / 1000,
            Goal("≤", GOAL_START),
        ),
    ]


def _measure(kind: str, port: int, seconds: float) -> dict[str, float]:
    folders = [ROOT / "src", *([AIOBOTOCORE] if kind == "aiobotocore" else [])]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-m", "bench.callers", kind, str(port), str(seconds)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
