"""The operations besides Invoke: typed input to output, with the rules that need state."""
