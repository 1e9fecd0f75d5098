"""What a count of actions costs in picojoules, what standing still costs in milliwatts, and how large the chip is.

`actions` names what is counted, `table` prices one hardware (each price with its source), `price` turns counts and
times into a breakdown. Nothing here runs anything: energy is a pure function of what an executor counted.
"""
