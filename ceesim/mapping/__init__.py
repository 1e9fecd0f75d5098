"""Workload × Hardware → Program: fold timing, tiles, residency, the mapper, and the compiler."""
