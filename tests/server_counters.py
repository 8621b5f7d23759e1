"""API writes as the servers count them themselves, from their own `/metrics`."""

from __future__ import annotations

import re
from collections import Counter

from huiju.kube.client import Client

_LINE = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE", "APPLY"})

Key = tuple[str, str, str]
"""Verb, resource, subresource."""


async def writes(client: Client) -> Counter[Key]:
    """Successful writes so far, by verb, resource and subresource; dry runs left out."""
    found: Counter[Key] = Counter()
    text = (await client.raw("GET", "/metrics")).decode()
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        labels = dict(_LABEL.findall(match["labels"]))
        if labels["verb"] not in WRITES or labels.get("dry_run"):
            continue
        if not labels["code"].startswith("2"):
            continue
        key = (labels["verb"], labels["resource"], labels["subresource"])
        found[key] += int(float(match["value"]))
    return found
