"""Asks API servers from inside a pod, as the pod's account; reads questions, prints answers.

Standard input is a JSON list of questions: `{"method", "path", "body"?, "server"?, "anonymous"?,
"headers"?}`; standard output the list of `{"code", "message"}`. `server` is another address than
the cluster's own API server, whose certificate is then not looked at. Decides nothing.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
OWN = "https://kubernetes.default.svc"
LONGEST = 2000


def trust(server: str) -> ssl.SSLContext:
    """What makes a certificate good."""
    if server == OWN:
        return ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(question: dict[str, Any]) -> dict[str, Any]:
    """One answer; code 0 if there was none."""
    server = question.get("server", OWN)
    headers = {"Content-Type": "application/json", **question.get("headers", {})}
    if question["method"] == "PATCH":
        headers["Content-Type"] = "application/merge-patch+json"
    if not question.get("anonymous"):
        headers["Authorization"] = f"Bearer {(ACCOUNT / 'token').read_text()}"
    body = json.dumps(question["body"]).encode() if "body" in question else None
    request = urllib.request.Request(  # noqa: S310  the server is the tests' to name
        server + question["path"], body, headers, method=question["method"]
    )
    try:
        with urllib.request.urlopen(  # noqa: S310
            request, timeout=10, context=trust(server)
        ) as answer:
            return {"code": answer.status, "message": answer.read(LONGEST).decode(errors="replace")}
    except urllib.error.HTTPError as refusal:
        text = refusal.read(LONGEST).decode(errors="replace")
        return {"code": refusal.code, "message": text}
    except OSError as error:
        return {"code": 0, "message": str(error)}


if __name__ == "__main__":
    json.dump([ask(question) for question in json.load(sys.stdin)], sys.stdout)
