"""ceesim: what dynamic inference is worth on real hardware."""

__version__ = "0.1.0"
