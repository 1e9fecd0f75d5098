"""The exits room: traces, exit policies and threshold search. Pure numpy; knows networks only by their Workload."""
