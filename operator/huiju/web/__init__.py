"""What the hub serves to people: the aggregated API `view.huiju.dev`.

Decides who is asking and whether they may; the answers come from the hub. Invariant: a caller is
believed only through the API server's own front proxy certificate.
"""
