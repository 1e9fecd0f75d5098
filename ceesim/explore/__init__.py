"""Which array, which buffers, which exits, which thresholds: design spaces, sweeps over them, and what to pick.

A `Space` lists points; an `Experiment` turns a point into a row; a `Table` keeps the rows, whatever happens.
"""
