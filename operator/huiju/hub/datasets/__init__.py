"""Data sets on the hub: agreements, copies, transfers, and what jobs and the scheduler ask."""
