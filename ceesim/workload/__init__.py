"""What could run: ops with shapes, the graph that joins them, its exits and segments, and what its FLOPs are."""
