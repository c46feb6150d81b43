"""HTTP in, HTTP out: connection, routes, caller, codec, answers."""
