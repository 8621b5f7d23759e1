"""`kubectl huiju`: what users and platform engineers type, one module a verb.

Decides what is shown and how it is said; the API server decides what is allowed. Invariant: the
way to `--help` imports nothing but argparse, so that it answers at once.
"""
