"""What counts and times are on a real machine: against other counters, against the device, against the clock."""
