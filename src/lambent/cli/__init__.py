"""The ``lambent`` command.

One module per verb, plus what they share: ``main`` gathers the verbs, ``endpoint``
reaches a running server, ``output`` speaks to people and writes JSON, ``package`` and
``requirements`` turn a folder into a zip. The verbs use the same public API as every
SDK does; only ``logs``, ``top``, ``dlq`` and ``fault`` also need the server's own controls. Nothing here is
imported by the server.

Exit status of every verb: 0 done, 1 the function failed or the user said no,
2 refused, unreachable or wrongly used.
"""
