"""A federation on one machine: real control planes, fake nodes, faults on demand.

For developers and tests; not part of the wheel. `python -m lab --help` shows what it can do.
"""
