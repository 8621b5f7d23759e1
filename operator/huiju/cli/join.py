"""`kubectl huiju join`: makes a cluster a center, with an account of few rights, step by step.

Decides the order, and what is checked before and after. Invariants: repeating it changes only what
the flags name; the caller's own credentials in the center are never handed to the hub.
"""

from __future__ import annotations

import argparse
import base64
import time
from typing import TYPE_CHECKING, Any, Final

from huiju.cli.explain import explain, https_address, token_seconds
from huiju.cli.failures import ERROR, OK, Failure, UsageError
from huiju.cli.session import Session
from huiju.cli.table import condition, dig

if TYPE_CHECKING:
    from huiju.cli.api import Api
    from huiju.cli.joining import Step, Wishes

Fields = dict[str, Any]
_TOKEN_PATIENCE: Final = 15.0
EXAMPLES = """\
examples:
  kubectl huiju join guiyang --center-context guiyang-admin --region south --dry-run
  kubectl huiju join guiyang --center-kubeconfig guiyang.yaml --region south
  kubectl huiju join guiyang --center-kubeconfig guiyang.yaml --token-lifetime 720h
  kubectl huiju join guiyang --pull --region south --server https://hub.example:6443
  kubectl huiju join guiyang --data-agent --server https://hub.example:6443

The command needs an administrator's kubeconfig of the center once. The hub gets a kubeconfig of an
account of its own, whose every right is printed with the reason for it. Undo it with `kubectl
delete computecenter NAME` on the hub and `kubectl delete ns huiju-system` in the center.

With --pull nothing of the center is needed: an agent there reaches the hub. The command writes a
file with a short-lived token for the center's owner; `kubectl huiju approve` lets the agent in."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("center", metavar="CENTER", help="name that the center gets")
    add("--center-kubeconfig", metavar="FILE", help="kubeconfig of the center's administrator")
    add("--center-context", metavar="NAME", help="context of the center in that kubeconfig")
    add("--server", metavar="URL", help="address by which the other side reaches the API server")
    add("--region", metavar="NAME", help="region, such as south; needed for a new center")
    add("--residency", metavar="CLASS", action="append", default=[], help="may be given again")
    add("--time-zone", metavar="NAME", type=_zone, help="such as Asia/Shanghai")
    add("--max-share", metavar="PERCENT", type=int, help="most that federated jobs may hold")
    add(
        "--allow-namespace",
        metavar="PATTERN",
        action="append",
        default=[],
        help="namespaces of the hub whose jobs are accepted; may be given again",
    )
    add("--token-lifetime", metavar="TIME", help="bounded token, such as 720h; join again to renew")
    add("--pull", action="store_true", help="an agent in the center reaches the hub")
    add(
        "--data-agent",
        action="store_true",
        help="a mailbox and a token for an agent that moves data, of a center reached by push",
    )
    add("--approve", action="store_true", help="with --pull: let in whoever brings the token")
    add("--bootstrap-file", metavar="FILE", help="with --pull, --data-agent: where the token goes")
    add("--timeout", metavar="SECONDS", type=float, default=30.0, help="for the hub's own check")
    add("--dry-run", action="store_true", help="explain and compare, write nothing")


def run(session: Session) -> int:
    """Join the center."""
    from huiju.cli import joining

    wishes = _wishes(session.flags)
    if session.flags.data_agent:
        return _data_agent(session, wishes)
    if _is_pull(session.flags):
        from huiju.cli import joinpull

        return joinpull.run(session, wishes)
    center = _center(session)
    uid = _identity(center)
    known = _known_center(session, wishes.name, uid)
    if known is None and not wishes.region:
        raise UsageError("--region is needed for a new center: where is it, such as south?")
    lifetime = token_seconds(session.flags.token_lifetime)
    session.say(f"Center {wishes.name}: {center.credentials.server} (kube-system UID {uid})")
    dry = session.flags.dry_run
    for step in joining.account_steps(token_secret=lifetime is None):
        _do(session, center, step, dry=dry)
    token = "" if dry else _token(session, center, lifetime)
    server = https_address(
        session, session.flags.server or center.credentials.server, "the hub reaches centers"
    )
    text = joining.kubeconfig_text(wishes.name, center.credentials, server, token)
    for step in joining.hub_steps(wishes, text):
        _do(session, session.api, step, dry=dry, compare=step.res.plural != "secrets")
    if dry:
        session.say("\nNothing was written. Leave --dry-run out to do it.")
        return OK
    _check_account(session, text, uid)
    return _check_hub(session, wishes.name)


def _data_agent(session: Session, wishes: Wishes) -> int:
    from huiju.cli import joinpull

    flags = session.flags
    if flags.pull or flags.approve or flags.center_kubeconfig or flags.center_context:
        raise UsageError("--data-agent needs none of --pull, --approve and --center-…")
    return joinpull.run_data_agent(session, wishes)


def _is_pull(flags: argparse.Namespace) -> bool:
    if not flags.pull and (flags.approve or flags.bootstrap_file):
        raise UsageError("--approve and --bootstrap-file belong to --pull")
    if flags.pull and (flags.center_kubeconfig or flags.center_context):
        raise UsageError("--pull needs no access to the center: leave --center-… out")
    return bool(flags.pull)


def _do(session: Session, api: Api, step: Step, *, dry: bool, compare: bool = True) -> None:
    """Have one object, and say what became of it and why it is needed."""
    from huiju.cli.ensure import ensure

    # A dry run has no token yet, so it cannot tell whether the stored kubeconfig would change.
    outcome = "would be written" if dry and not compare else ensure(api, step, dry=dry)
    explain(session, step, outcome)


def _center(session: Session) -> Api:
    """The center's API server, as its administrator."""
    from huiju.cli.api import Api
    from huiju.kube.kubeconfig import from_kubeconfig

    flags = session.flags
    if not flags.center_kubeconfig and not flags.center_context:
        raise UsageError("say which cluster joins: --center-kubeconfig FILE or --center-context")
    path = flags.center_kubeconfig or getattr(flags, "kubeconfig", None)
    return Api(from_kubeconfig(path, flags.center_context), timeout=session.timeout)


def _wishes(flags: argparse.Namespace) -> Wishes:
    from huiju.cli.joining import Wishes

    if flags.max_share is not None and not 0 <= flags.max_share <= 100:
        raise UsageError("--max-share must be a percentage from 0 to 100")
    return Wishes(
        name=flags.center,
        region=flags.region,
        residency=tuple(flags.residency),
        time_zone=flags.time_zone,
        max_share_percent=flags.max_share,
        namespaces=tuple(flags.allow_namespace),
    )


def _zone(given: str) -> str:
    from huiju.api.zones import time_zone

    try:
        time_zone(given)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return given


def _identity(center: Api) -> str:
    from huiju.kube.resources import NAMESPACES

    return str(center.get(NAMESPACES, "kube-system")["metadata"]["uid"])


def _known_center(session: Session, name: str, uid: str) -> Fields | None:
    """The ComputeCenter of this name; refuses a name or a cluster that is taken."""
    from huiju.kube.resources import COMPUTE_CENTERS

    known = None
    for center in session.api.list(COMPUTE_CENTERS)[0]:
        own = center["metadata"]["name"]
        met = dig(center, "status", "identity", "uid")
        if own == name:
            known = center
            if met not in (None, uid):
                raise Failure(
                    f"center {name} was another cluster so far (kube-system UID {met}): join this"
                    f" one under another name, or `kubectl delete computecenter {name}` first"
                )
        elif met == uid:
            raise Failure(f"this cluster has joined already, as center {own}")
    return known


def _token(session: Session, center: Api, lifetime: int | None) -> str:
    """The account's token: from its Secret, or a bounded one asked for now."""
    from huiju.centers.role import ACCOUNT
    from huiju.cli.joining import SYSTEM, TOKEN_SECRET
    from huiju.kube.resources import SECRETS, SERVICE_ACCOUNTS

    if lifetime is not None:
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": lifetime},
        }
        answer = center.call("POST", SERVICE_ACCOUNTS.path(SYSTEM, ACCOUNT, "token"), request)
        session.say(f"  center  token until {answer['status']['expirationTimestamp']}")
        session.say("          Join again before then; the hub takes the new one up by itself.")
        return str(answer["status"]["token"])
    deadline = time.monotonic() + _TOKEN_PATIENCE
    while time.monotonic() < deadline:
        encoded = dig(center.get(SECRETS, TOKEN_SECRET, SYSTEM), "data", "token")
        if encoded:
            return base64.b64decode(encoded).decode()
        time.sleep(0.1)
    raise Failure(
        f"the center filled no token into Secret {SYSTEM}/{TOKEN_SECRET}: is its controller manager"
        " at work? --token-lifetime 720h asks for a bounded token without it"
    )


def _check_account(session: Session, kubeconfig: str, uid: str) -> None:
    """Reach the center as the hub will, and see that the account may do its work."""
    from huiju.cli.api import Api
    from huiju.cli.joining import wanted_access
    from huiju.cli.probe import denied, spell
    from huiju.kube.kubeconfig import from_secret_bytes

    account = Api(from_secret_bytes(kubeconfig.encode()), timeout=session.timeout)
    missing = denied(account, wanted_access(), patience=5.0)
    if missing:
        raise Failure(
            f"the account may not {', '.join(map(spell, missing))}: does a policy in the center"
            " forbid it?"
        )
    met = _identity(account)
    if met != uid:
        raise Failure(f"{account.credentials.server} is another cluster (kube-system UID {met})")
    session.say("  check   the account reaches the center and may do what it needs")


def _check_hub(session: Session, name: str) -> int:
    """Wait for the hub to find the center Ready."""
    from huiju.cli.joining import SYSTEM
    from huiju.cli.probe import leader
    from huiju.kube.resources import COMPUTE_CENTERS

    if leader(session.api, SYSTEM, time.time()) is None:
        session.note(
            "warning: no hub is at work (nobody holds Lease huiju-system/huiju-hub): start it,"
            " then look with `kubectl huiju centers`"
        )
        return OK
    deadline = time.monotonic() + session.flags.timeout
    while True:
        center = session.api.get(COMPUTE_CENTERS, name)
        ready = condition(center, "Ready")
        if ready.get("status") == "True":
            session.say(f"  check   the hub finds it Ready: {dig(center, 'status', 'summary')}")
            return OK
        if time.monotonic() >= deadline:
            break
        time.sleep(0.5)
    told = f"{ready.get('reason')}: {ready.get('message')}" if ready else "nothing said yet"
    session.note(f"error: the hub does not find center {name} Ready ({told})")
    return ERROR
