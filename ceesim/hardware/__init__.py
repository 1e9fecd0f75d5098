"""What the accelerator is: a validated, frozen record of its array, units, buffers and memory, read from YAML.

`model` is the record, `load` reads and overrides it, `contradictions` says what cannot be built, `schema` documents it.
"""
