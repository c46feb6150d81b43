"""Warm Invoke with signatures and policies on: the rate beside the floor's, and what they cost.

The signature covers host, date, path and body, and the caller's policy has three statements.
"""

from bench.figures import Figure, Goal
from bench.rounds import Options, Round, alternate
from bench.servers import Floor, Server, SignedServer


def run(options: Options) -> list[Figure]:
    """Return the ratio of rates to the floor, and of CPU to a server that checks nothing."""
    with Floor() as floor, Server() as server, SignedServer() as signed:
        server.create()
        signed.create()
        rounds = alternate([floor, server, signed], 32, options)
    least, free, checked = (Round.median(each) for each in rounds)
    return [
        Figure("warm Invoke, signed, 32 in flight", "/s", least.rps, checked.rps, Goal("≥", 0.35)),
        Figure("CPU per invocation, signed to unsigned", "µs", free.cpu_us, checked.cpu_us),
    ]
