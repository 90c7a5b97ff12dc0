"""The air gap: a network namespace without a way out, and a mount namespace of its own."""

import os
from collections.abc import Sequence
from pathlib import Path

from testbed.host import TestbedError, run
from testbed.processes import Processes

NAME = "ckf-airgap-testbed"
NODE_ADDRESS = "10.77.0.1"
POD_RANGE = "10.78.0.0/16"
NODE_POD_RANGE = "10.78.0.0/24"
SERVICE_RANGE = "10.79.0.0/16"
KUBERNETES_SERVICE_ADDRESS = "10.79.0.1"
_HOLDER = "namespace"


class Namespace:
    """The namespaces that everything of the testbed runs in.

    The mount namespace belongs to one process and ends with it: so do all mounts, whatever the
    container runtime leaves behind. Inside, /etc/hosts and /etc/resolv.conf are the testbed's.
    """

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        self._folder = folder

    @property
    def is_up(self) -> bool:
        """Whether the namespaces are there."""
        return self._processes.pid(_HOLDER) is not None

    def up(self, hosts: Sequence[str]) -> None:
        """Make the namespaces.

        Args:
            hosts: Names that resolve to the node.
        """
        if self.is_up:
            return
        self.down()
        self._folder.mkdir(parents=True, exist_ok=True)
        hosts_file = self._folder / "hosts"
        hosts_file.write_text(f"127.0.0.1 localhost\n{NODE_ADDRESS} {' '.join(hosts)}\n")
        resolver = self._folder / "resolv.conf"
        resolver.write_text(f"nameserver {NODE_ADDRESS}\n")
        run(["ip", "netns", "add", NAME])
        # Mounts must spread within this namespace (kubelet and containers share some), not beyond.
        script = (
            "mount --make-rprivate / && mount --make-rshared / && "
            f"mount --bind {hosts_file} /etc/hosts && mount --bind {resolver} /etc/resolv.conf && "
            # What the container runtime leaves in these goes away with the mount namespace.
            "for place in /run/netns /run/containerd; do "
            "mkdir -p $place && mount -t tmpfs testbed $place; done && "
            "exec sleep infinity"
        )
        self._processes.start(
            _HOLDER,
            ["nsenter", f"--net=/run/netns/{NAME}", "unshare", "--mount", "sh", "-ec", script],
        )
        self._set_up_network()

    def down(self) -> None:
        """Remove the namespaces, and with them every interface and mount inside."""
        self._processes.stop(_HOLDER)
        if Path("/run/netns", NAME).exists():
            run(["ip", "netns", "delete", NAME])

    def command(self, args: Sequence[str | Path]) -> list[str]:
        """Give the command that runs a command inside, in the same working directory."""
        pid = self._processes.pid(_HOLDER)
        if pid is None:
            raise TestbedError("the testbed is not up: python3 -m testbed up")
        enter = ["nsenter", f"--target={pid}", "--net", "--mount", f"--wdns={os.getcwd()}"]
        return [*enter, *(str(arg) for arg in args)]

    @property
    def enter(self) -> str:
        """The beginning of a shell command that runs something inside."""
        pid = self._processes.pid(_HOLDER)
        return f'nsenter --target={pid} --net --mount --wdns="$PWD"'

    def _set_up_network(self) -> None:
        inside = ["nsenter", f"--net=/run/netns/{NAME}"]
        for command in (
            "ip link set lo up",
            # Not every kernel has dummy devices; both ends of a veth pair stay in here instead.
            "ip link add node0 type veth peer name node1",
            f"ip address add {NODE_ADDRESS}/24 dev node0",
            "ip link set node1 up",
            "ip link set node0 up",
            # Service addresses must have a route before kube-proxy rewrites them.
            "ip route add default dev node0",
        ):
            run([*inside, *command.split()])
        run([*inside, "sysctl", "-qw", "net.ipv4.ip_forward=1"])
