"""From calls of ATen functions to ops: the captured graph as plain values, and one rule per function. No torch here."""
