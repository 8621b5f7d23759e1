"""The scheduling core: pure functions and state over plain values; standard library only.

Nothing here reads a clock, draws a random number, or does I/O: the same inputs give the same
decisions, so a cycle can be replayed, tested by properties, and run by the simulator.
"""
