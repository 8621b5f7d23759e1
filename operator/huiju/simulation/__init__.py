"""The simulator: the operator's own scheduling core, run on recorded jobs at the speed of thought.

Reads traces and capacities, moves a clock from event to event, and reports waits, moved share and
use of cards. The policy is never its own: the cycle is the one that the hub runs.
"""
