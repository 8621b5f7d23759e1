"""The sentinel: one process in a center that asks for its lease and tells guards how long it is."""
