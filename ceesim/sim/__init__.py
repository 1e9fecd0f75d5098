"""Replaying inputs: the event-driven machine, the price of leaving at each exit, and the look-up that is a run."""
