"""What runs inside the pods of a job: the guard beside the main container, and its first step.

Standard library only, and little of it: one of these processes runs in every guarded pod, so a
megabyte here is a megabyte per worker of the network. Nothing here talks to an API server.
"""
