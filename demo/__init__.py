"""The main job on real input: a recorded trace through a federation on this machine."""
