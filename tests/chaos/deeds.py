"""The blows of a storm, done to real processes, links, clusters and objects.

Decides how each deed is done and ended. Invariants: a deed that finds nothing to hit is not counted
as done; after `calm` everything runs and every link is open, whatever was cut short.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from huiju.centers import names
from huiju.kube.errors import ApiStatus, KubeError, NotFound
from huiju.kube.resources import COMPUTE_CENTERS, CROSS_REGION_JOBS, JOBS, NAMESPACES, PODS
from lab import signals
from lab.cluster import Cluster, ClusterFailed
from lab.components import launch
from lab.kwokctl import Component
from tests.chaos.federation import NAMESPACE, Federation
from tests.chaos.plan import Blow, Deed
from tests.chaos.users import stubbornly

_MINE: Final = "huiju.dev/job-uid"


class Deeds:
    """Does blows to one federation."""

    def __init__(self, made: Federation, hub_id: str) -> None:
        self._made = made
        self._hub_id = hub_id
        self._busy: dict[str, asyncio.Lock] = {name: asyncio.Lock() for name in made.clusters}
        self.wiped: set[str] = set()
        """Centers that were built anew."""

    async def do(self, blow: Blow) -> bool:
        """Do it, to its end; False where there was nothing to hit."""
        match blow.deed:
            case Deed.KILL | Deed.FREEZE | Deed.LEAP:
                return await self._to_program(blow)
            case Deed.PARTITION | Deed.LOST | Deed.MUTE | Deed.BREAK:
                return await self._to_link(blow)
            case Deed.SERVER_DIES | Deed.STORE_DIES | Deed.SERVER_FREEZES | Deed.FORGET_HISTORY:
                async with self._busy[blow.where]:
                    return await self._to_cluster(blow)
            case Deed.WIPED | Deed.MISLED:
                async with self._busy[blow.where]:
                    return await self._to_center(blow)
            case _:
                return await self._to_objects(blow)

    async def calm(self) -> None:
        """Everything runs again."""
        for proxy in self._made.proxies.values():
            proxy.rules.clear()
            proxy.heal()
        for cluster in self._made.clusters.values():
            for component in (Component.ETCD, Component.APISERVER):
                with suppress(ClusterFailed):
                    signals.resume(cluster, component)
                if component not in cluster.processes():
                    launch(cluster.folder, component)
            await cluster.ready(90)
        for name, process in self._made.programs.items():
            process.send(signal.SIGCONT)
            await self._made.start(name)

    # --- programs, links, clusters -----------------------------------------------------------

    async def _to_program(self, blow: Blow) -> bool:
        process = self._made.programs[blow.where]
        if not process.alive:
            return False
        match blow.deed:
            case Deed.KILL:
                self._made.held_down.add(blow.where)
                process.kill()
                await asyncio.sleep(blow.seconds)
                self._made.held_down.discard(blow.where)
                await self._made.start(blow.where)
            case Deed.FREEZE:
                process.send(signal.SIGSTOP)
                await asyncio.sleep(blow.seconds)
                process.send(signal.SIGCONT)
            case _:
                process.send(signal.SIGUSR1)
        return True

    async def _to_link(self, blow: Blow) -> bool:
        proxy = self._made.proxies[blow.where]
        match blow.deed:
            case Deed.PARTITION | Deed.LOST:
                proxy.partition()
            case Deed.MUTE:
                proxy.mute()
            case _:
                proxy.cut_all()
                return True
        await asyncio.sleep(blow.seconds)
        proxy.heal()
        return True

    async def _to_cluster(self, blow: Blow) -> bool:
        cluster = self._made.clusters[blow.where]
        match blow.deed:
            case Deed.SERVER_FREEZES:
                signals.pause(cluster, Component.APISERVER)
                await asyncio.sleep(blow.seconds)
                signals.resume(cluster, Component.APISERVER)
            case Deed.FORGET_HISTORY:
                await cluster.compact()
            case Deed.SERVER_DIES:
                await _restart(cluster, (Component.APISERVER,), blow.seconds)
            case _:
                await _restart(cluster, (Component.ETCD,), blow.seconds)
        return True

    async def _to_center(self, blow: Blow) -> bool:
        name = blow.where
        if blow.deed is Deed.MISLED:
            other = next(one for one in ("east", "west") if one != name)
            await stubbornly(lambda: self._made.join(name, leading_to=other))
            await asyncio.sleep(blow.seconds)
            await stubbornly(lambda: self._made.join(name))
            return True
        await stubbornly(lambda: _gone_ok(self._made.user.delete(COMPUTE_CENTERS, name)))
        cluster = self._made.clusters[name]
        self.wiped.add(name)
        # Controllers too: what they remember of the objects that are gone is not so any more.
        await _restart(cluster, cluster.spec.components, 0.5, cluster.forget)
        await stubbornly(lambda: self._made.equip(name))
        sentinel = f"sentinel-{name}"
        self._made.programs[sentinel].kill()
        await self._made.start(sentinel)
        await stubbornly(lambda: self._made.join(name))
        return True

    # --- objects -----------------------------------------------------------------------------

    async def _to_objects(self, blow: Blow) -> bool:
        try:
            return await self._hit(blow)
        except KubeError:
            return False  # the server is down just now, or it went meanwhile

    async def _hit(self, blow: Blow) -> bool:
        client = self._made.clients[blow.where]
        match blow.deed:
            case Deed.POD_DELETED:
                pods = (await client.list_all(PODS, labels=_MINE)).items
                live = [pod for pod in pods if pod["status"].get("phase") == "Running"]
                for pod in live[:1]:
                    meta = pod["metadata"]
                    await client.delete(PODS, meta["name"], meta["namespace"])
                return bool(live)
            case Deed.NAMESPACE_DELETED:
                space = names.own_namespace(self._hub_id, NAMESPACE)
                await client.delete(NAMESPACES, space)
                return True
            case Deed.FOREIGN:
                return await self._squat(blow.where)
            case _:
                return await self._hit_workload(blow)

    async def _hit_workload(self, blow: Blow) -> bool:
        client = self._made.clients[blow.where]
        found = (await client.list_all(JOBS, labels=_MINE)).items
        live = [job for job in found if not job.get("status", {}).get("completionTime")]
        if not live:
            return False
        meta = live[0]["metadata"]
        if blow.deed is Deed.WORKLOAD_DELETED:
            await client.delete(JOBS, meta["name"], meta["namespace"])
            return True
        change: dict[str, Any] = {"spec": {"suspend": True}}
        if int(meta["uid"][0], 16) % 2:
            change = {"metadata": {"labels": {"huiju.dev/epoch": "7", "huiju.dev/job-uid": "x"}}}
        await client.patch(JOBS, meta["name"], change, meta["namespace"])
        return True

    async def _squat(self, center: str) -> bool:
        """Take the name of the next epoch of a job that may come here."""
        waiting = [
            job
            for job in (await self._made.user.list_all(CROSS_REGION_JOBS, NAMESPACE)).items
            if not job.get("status", {}).get("finishedAt")
        ]
        if not waiting:
            return False
        meta, epoch = waiting[0]["metadata"], waiting[0].get("status", {}).get("epoch") or 0
        name = names.workload_name(meta["name"], meta["uid"], epoch + 1)
        space = names.own_namespace(self._hub_id, NAMESPACE)
        pod = {
            "restartPolicy": "Never",
            "containers": [{"name": "mine", "image": "registry.invalid/mine:1"}],
        }
        body = {
            "apiVersion": JOBS.api_version,
            "kind": JOBS.kind,
            "metadata": {"name": name, "namespace": space, "labels": {"storm": "foreign"}},
            "spec": {"suspend": True, "template": {"spec": pod}},
        }
        await self._made.clients[center].create(JOBS, body, space)
        return True


async def _restart(
    cluster: Cluster,
    components: Sequence[Component],
    seconds: float,
    between: Callable[[], None] = lambda: None,
) -> None:
    """End processes, wait, start them in their order, and wait until the cluster works."""
    for component in reversed(components):
        with suppress(ClusterFailed):
            signals.kill(cluster, component)
    between()
    await asyncio.sleep(seconds)
    for component in components:
        launch(cluster.folder, component)
        await asyncio.sleep(0.5)
    async with asyncio.timeout(90):
        for component in (Component.ETCD, Component.APISERVER):
            while component not in cluster.processes():
                launch(cluster.folder, component)
                await asyncio.sleep(0.5)
        await cluster.ready(80, revive=True)


async def _gone_ok(work: Any) -> None:
    try:
        await work
    except NotFound:
        return
    except ApiStatus as error:
        if error.code != 409:
            raise
