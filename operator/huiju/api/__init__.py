"""The kinds of `huiju.dev/v1alpha1`: models, rules, reasons, and the CRDs made from them.

Models here describe what users and platform engineers write and read. They hold no I/O and no
policy; whatever depends on other objects is decided elsewhere.
"""
