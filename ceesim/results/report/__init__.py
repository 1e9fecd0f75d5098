"""The report: one self-contained HTML page about runs and sweeps, drawn from their files."""
