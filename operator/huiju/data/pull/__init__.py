"""The puller: one transfer of one version into a center's store."""
