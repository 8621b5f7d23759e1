"""Settings of the agent, each with its unit and why its default is what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What a center's owner may tune; everything has a default that works."""

    center: str
    """Name of the ComputeCenter on the hub."""
    namespace: str = "huiju-system"
    """The agent's own namespace in the center, which holds its Lease."""
    leader_election: bool = True
    heartbeat: float = 5.0
    """Seconds between two signs of life; the hub takes a center for lost after 40."""
    publish_interval: float = 1.0
    """Least seconds between two writes of the inventory: changes come in bursts."""
    look_again: float = 300.0
    """Seconds after which the mailbox's pieces are read again: somebody may have removed one."""
    retry: float = 2.0
    """Seconds after which a hub or center that did not answer is tried again."""
    credential_lifetime: float = 86_400.0
    """Seconds that the agent's credential on the hub is asked to last."""
    credential_share: float = 2 / 3
    """Renewed after this share of its life: the rest is for a hub that does not answer."""
    workers: int = 16
    """Jobs worked on at once."""
    data: bool = False
    """Whether the center holds copies of data sets, or has some of its own."""
    data_only: bool = False
    """Nothing but data: for a center whose work the hub does itself, by push."""
    data_store: str = ""
    """Where the center's owner lets copies lie: a folder of its nodes, or SERVER:FOLDER of NFS.
    What the hub says of the center's store must be the same; empty lets none in."""
    pull_image: str = ""
    """Image of the pods that carry data sets, before the center's mirrors: Huiju's own."""
    pull_user: int = 65532
    """The user that they run as, who must be able to write in the center's store."""
    gateway_url: str = ""
    """Where consumers reach the center's gateway, for folders and web servers."""
    data_interval: float = 2.0
    """A transfer's progress is reported at most once in so many seconds."""
    signers: int = 4
    """Requests for links that are answered at once."""
    data_folder: Path = Path("/tmp/huiju-data")  # noqa: S108  an emptyDir in the chart
    """Where manifests of the center's own data are kept while links to it are made."""
    bind: str = "127.0.0.1"
    health_port: int = 8082
