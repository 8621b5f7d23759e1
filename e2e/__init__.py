"""End-to-end tests: the charts, the image and the command on real clusters made by kind.

Decides nothing of the product's. Nothing here is imported by it, and nothing here knows how it
works inside: what is asserted is what a user, a platform engineer or a center's owner sees.
"""
