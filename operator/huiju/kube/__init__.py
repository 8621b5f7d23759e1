"""Talking to Kubernetes API servers: one client per server, informers, a work queue, a Lease.

Decides how a call is made, bounded, retried and read; never what to write. Invariant: nothing here
is shared between two servers, so a slow or dead one delays no other.
"""
