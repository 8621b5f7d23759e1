"""A device plugin for devices that do not exist, to a real kubelet.

Decides nothing: it advertises `--count` devices, reports those as unhealthy whose numbers stand in
the file `--unhealthy` (any separators), and tells each container in the variable `--env` which ones
it got. Invariant: what it says follows the file within a second; it registers again whenever the
kubelet has removed its socket. Messages are those of k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1,
encoded by hand, since they are few.
"""

from __future__ import annotations

import argparse
import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]

log = logging.getLogger("plugin")
SERVICE = "v1beta1.DevicePlugin"
REGISTER = "/v1beta1.Registration/Register"
LENGTH_DELIMITED = 2


def varint(number: int) -> bytes:
    """A number of protobuf's wire format."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def field(number: int, value: str | bytes) -> bytes:
    """A string, or a message that is encoded already, as field `number`."""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | LENGTH_DELIMITED) + varint(len(data)) + data


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and value of each length-delimited field; the messages read here have no others."""
    at = 0

    def number() -> int:
        nonlocal at
        found = shift = 0
        while True:
            byte = message[at]
            at += 1
            found |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return found

    while at < len(message):
        key = number()
        if key & 7 != LENGTH_DELIMITED:
            raise ValueError(f"wire type {key & 7} in a message of strings")
        size = number()
        yield key >> 3, message[at : at + size]
        at += size


class Plugin:
    """The devices of one resource, and the answers to the kubelet."""

    def __init__(self, resource: str, count: int, env: str, unhealthy: Path) -> None:
        self.resource = resource
        self.env = env
        self.names = [f"{resource.rpartition('/')[2]}-{index}" for index in range(count)]
        self.unhealthy = unhealthy

    def devices(self) -> bytes:
        """A ListAndWatchResponse of the moment."""
        text = self.unhealthy.read_text() if self.unhealthy.exists() else ""
        broken = {int(word) for word in re.findall(r"\d+", text)}
        return b"".join(
            field(1, field(1, name) + field(2, "Unhealthy" if index in broken else "Healthy"))
            for index, name in enumerate(self.names)
        )

    def options(self, _request: bytes, _context: Any) -> bytes:
        """No options: neither preferred allocations nor a call before a container starts."""
        return b""

    def watch(self, _request: bytes, context: Any) -> Iterator[bytes]:
        """The devices now, and again whenever they change."""
        said = None
        while context.is_active():
            now = self.devices()
            if now != said:
                yield now
                said = now
            time.sleep(1)

    def allocate(self, request: bytes, _context: Any) -> bytes:
        """For each container the variable that names its devices."""
        answer = b""
        for _, container in fields(request):
            given = {name.decode() for _, name in fields(container)}
            indices = [str(index) for index, name in enumerate(self.names) if name in given]
            log.info("allocated %s", indices)
            answer += field(1, field(1, field(1, self.env) + field(2, ",".join(indices))))
        return answer


def serve(plugin: Plugin, directory: Path) -> str:
    """Register and serve until the kubelet has removed the socket; returns why it ended."""
    socket = directory / (re.sub(r"[/.]", "-", plugin.resource) + ".sock")
    socket.unlink(missing_ok=True)
    server = grpc.server(ThreadPoolExecutor(4))
    answers = {
        "GetDevicePluginOptions": grpc.unary_unary_rpc_method_handler(plugin.options),
        "ListAndWatch": grpc.unary_stream_rpc_method_handler(plugin.watch),
        "Allocate": grpc.unary_unary_rpc_method_handler(plugin.allocate),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, answers)])
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    try:
        with grpc.insecure_channel(f"unix://{directory}/kubelet.sock") as kubelet:
            request = field(1, "v1beta1") + field(2, socket.name) + field(3, plugin.resource)
            kubelet.unary_unary(REGISTER)(request, timeout=10)
        log.info("registered %d x %s", len(plugin.names), plugin.resource)
        while socket.exists():
            time.sleep(1)
        return "the kubelet restarted"
    except grpc.RpcError as error:
        return f"the kubelet does not answer: {error}"
    finally:
        server.stop(None)


def main() -> None:
    """Serve for ever."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser()
    parser.add_argument("--resource", default="huawei.com/Ascend910")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--env", default="ASCEND_VISIBLE_DEVICES")
    parser.add_argument("--unhealthy", type=Path, default="/var/lib/huiju-devices/unhealthy")
    parser.add_argument("--directory", type=Path, default="/var/lib/kubelet/device-plugins")
    given = parser.parse_args()
    plugin = Plugin(given.resource, given.count, given.env, given.unhealthy)
    while True:
        log.info("%s", serve(plugin, given.directory))
        time.sleep(1)


if __name__ == "__main__":
    main()
