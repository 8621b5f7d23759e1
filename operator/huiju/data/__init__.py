"""Data sets: manifests, moving bytes between centers, and who may."""
