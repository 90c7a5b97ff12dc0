"""A Kubernetes of one node in the testbed's namespace."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from testbed import builds, images, namespace
from testbed.host import TestbedError, run
from testbed.namespace import Namespace
from testbed.pki import Authority, KeyPair
from testbed.processes import Processes, end_all
from testbed.registry import Registry

_NODE = "airgap"
_VOLUMES = 24
_READY_SECONDS = 90
_CGROUPS = Path("/sys/fs/cgroup")
# All pods are below it: a machine may run another Kubernetes, whose group is plain kubepods.
_CGROUP = "ckf-airgap-testbed"
_ALL_INTERFACES = "0.0.0.0"
# Users of the API, with the groups that give them their rights.
_USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kubelet": (f"system:node:{_NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", None),
}
_START_ORDER = (
    "etcd",
    "apiserver",
    "controller-manager",
    "scheduler",
    "containerd",
    "coredns",
    "kubelet",
    "proxy",
)


class Kubernetes:
    """The control plane, the node and the cluster's name service."""

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        space: Namespace,
        authority: Authority,
        registries: Sequence[Registry],
    ) -> None:
        self._folder = folder
        self._processes = processes
        self._space = space
        self._authority = authority
        self._registries = registries
        self._pairs: dict[str, KeyPair] = {}

    @property
    def kubeconfig(self) -> Path:
        """The administrator's configuration of kubectl."""
        return self._folder / "admin.kubeconfig"

    @property
    def programs(self) -> tuple[str, ...]:
        """The names of its processes."""
        return _START_ORDER

    def up(self) -> None:
        """Start what does not run, and wait until the node takes pods.

        Raises:
            TestbedError: It does not get ready; the message names the log.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        for root in self._cgroup_roots():
            root.mkdir(exist_ok=True)
        # What an API server that was killed left behind keeps the next one from its port.
        for name in _START_ORDER:
            self._processes.start(name, self._space.command(self._command(name)))
            if name == "apiserver":
                self._wait("the API server", "get", "--raw", "/readyz")
        self._wait("the node", "wait", "node", _NODE, "--for=condition=Ready", "--timeout=1s")
        self.make_storage()
        self._wait("the default service account", "get", "serviceaccount", "default")

    def down(self) -> None:
        """Stop everything, pods included, and forget what it held."""
        for name in ("kubelet", "proxy", "coredns", "scheduler", "controller-manager"):
            self._processes.stop(name)
        end_all(self._pod_processes())
        self._processes.stop("containerd")
        end_all(self._pod_processes())
        self._remove_cgroups()
        for name in ("apiserver", "etcd"):
            self._processes.stop(name, patience=3)

    def kubectl(self, *args: str) -> str:
        """Run kubectl as the administrator."""
        program = builds.kubernetes() / "kubectl"
        return run(self._space.command([program, f"--kubeconfig={self.kubeconfig}", *args]))

    def is_ready(self) -> bool:
        """Tell whether the node takes pods."""
        try:
            ready = self.kubectl("get", "node", _NODE, "--output=jsonpath={.status.conditions}")
        except TestbedError:
            return False
        return '"reason":"KubeletReady"' in ready and '"status":"True"' in ready

    def _wait(self, what: str, *args: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            for name in self._processes.names:
                if name == "kubelet":
                    # It gives up where containerd does not answer yet; where it runs, it is kept.
                    self._processes.start(name, self._space.command(self._command(name)))
                else:
                    self._processes.require(name)
            try:
                self.kubectl(*args)
                return
            except TestbedError as error:
                if time.monotonic() > deadline:
                    raise TestbedError(
                        f"{what} is not ready after {_READY_SECONDS} s: {error}\n"
                        f"see {self._processes.logs}"
                    ) from error
            time.sleep(0.5)

    def _command(self, name: str) -> list[str | Path]:
        programs = builds.kubernetes()
        config = self._folder
        address = namespace.NODE_ADDRESS
        pair = self._pairs
        ca = self._authority.certificate
        commands: dict[str, list[str | Path]] = {
            "etcd": [
                builds.etcd() / "etcd",
                f"--data-dir={config / 'etcd'}",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
            "apiserver": [
                programs / "kube-apiserver",
                "--etcd-servers=http://127.0.0.1:2379",
                f"--advertise-address={address}",
                f"--bind-address={_ALL_INTERFACES}",
                "--secure-port=6443",
                f"--client-ca-file={ca}",
                f"--tls-cert-file={pair['apiserver'].certificate}",
                f"--tls-private-key-file={pair['apiserver'].key}",
                f"--kubelet-client-certificate={pair['admin'].certificate}",
                f"--kubelet-client-key={pair['admin'].key}",
                f"--kubelet-certificate-authority={ca}",
                # The node's name resolves nowhere: the kubelet is reached by its address.
                "--kubelet-preferred-address-types=InternalIP",
                f"--service-account-key-file={pair['service-accounts'].certificate}",
                f"--service-account-signing-key-file={pair['service-accounts'].key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-cluster-ip-range={namespace.SERVICE_RANGE}",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                "--shutdown-delay-duration=0s",
            ],
            "controller-manager": [
                programs / "kube-controller-manager",
                f"--kubeconfig={config / 'controller-manager.kubeconfig'}",
                f"--service-account-private-key-file={pair['service-accounts'].key}",
                f"--root-ca-file={ca}",
                "--use-service-account-credentials",
                "--allocate-node-cidrs=true",
                f"--cluster-cidr={namespace.POD_RANGE}",
                "--leader-elect=false",
            ],
            "scheduler": [
                programs / "kube-scheduler",
                f"--kubeconfig={config / 'scheduler.kubeconfig'}",
                "--leader-elect=false",
            ],
            "containerd": ["containerd", "--config", config / "containerd.toml"],
            "coredns": [builds.coredns() / "coredns", "-conf", config / "Corefile"],
            "kubelet": [
                programs / "kubelet",
                f"--config={config / 'kubelet.yaml'}",
                f"--kubeconfig={config / 'kubelet.kubeconfig'}",
                f"--hostname-override={_NODE}",
                f"--node-ip={address}",
                f"--root-dir={config / 'kubelet'}",
            ],
            "proxy": [
                programs / "kube-proxy",
                f"--kubeconfig={config / 'proxy.kubeconfig'}",
                f"--cluster-cidr={namespace.POD_RANGE}",
                "--proxy-mode=iptables",
                f"--hostname-override={_NODE}",
                "--conntrack-max-per-core=0",
            ],
        }
        return commands[name]

    def _write_configuration(self) -> None:
        address = namespace.NODE_ADDRESS
        issue = self._authority.issue
        for name, (user, group) in _USERS.items():
            addresses = (_NODE, address) if name == "kubelet" else ()
            self._pairs[name] = issue(name, *addresses, user=user, group=group)
            self._write_kubeconfig(name)
        self._pairs["apiserver"] = issue(
            "apiserver",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            address,
            namespace.KUBERNETES_SERVICE_ADDRESS,
            "127.0.0.1",
        )
        self._pairs["service-accounts"] = self._authority.signing_key("service-accounts")
        self._write_containerd()
        self._write_kubelet()
        hosts = " ".join(registry.host.partition(":")[0] for registry in self._registries)
        self._folder.joinpath("Corefile").write_text(
            f".:53 {{\n  bind {address}\n  errors\n"
            f"  hosts {{\n    {address} {hosts}\n    fallthrough\n  }}\n"
            "  kubernetes cluster.local in-addr.arpa {\n"
            f"    kubeconfig {self.kubeconfig}\n  }}\n}}\n"
        )

    def _write_kubeconfig(self, name: str) -> None:
        cluster = {
            "server": f"https://{namespace.NODE_ADDRESS}:6443",
            "certificate-authority": str(self._authority.certificate),
        }
        user = {
            "client-certificate": str(self._pairs[name].certificate),
            "client-key": str(self._pairs[name].key),
        }
        # Juju knows what cloud it is by the context's name, and asks for a region otherwise.
        context = "microk8s"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "airgap", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": context, "context": {"cluster": "airgap", "user": name}}],
            "current-context": context,
        }
        self._folder.joinpath(f"{name}.kubeconfig").write_text(yaml.safe_dump(document))

    def _write_containerd(self) -> None:
        certificates = self._folder / "certs.d"
        for registry in self._registries:
            folder = certificates / registry.host
            folder.mkdir(parents=True, exist_ok=True)
            folder.joinpath("hosts.toml").write_text(
                f'server = "https://{registry.host}"\n[host."https://{registry.host}"]\n'
                f'  capabilities = ["pull", "resolve"]\n  ca = "{registry.ca}"\n'
            )
        network = self._folder / "cni"
        network.mkdir(exist_ok=True)
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "isDefaultGateway": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": namespace.NODE_POD_RANGE}]],
                "dataDir": str(self._folder / "cni-addresses"),
            },
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        network.joinpath("10-bridge.conflist").write_text(
            json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]})
        )
        cri = '[plugins."io.containerd.grpc.v1.cri"'
        self._folder.joinpath("containerd.toml").write_text(
            f'version = 2\nroot = "{self._folder / "containerd"}"\n'
            f'state = "{self._folder / "containerd-state"}"\n'
            f'[grpc]\n  address = "{self._socket}"\n'
            f"{cri}]\n"
            # Without CAP_SYS_RESOURCE runc could not lower the score, and every pod would fail.
            "  restrict_oom_score_adj = true\n"
            f'  sandbox_image = "{self._registries[0].host}/{images.PAUSE}"\n'
            f'{cri}.registry]\n  config_path = "{certificates}"\n'
            f'{cri}.containerd]\n  snapshotter = "overlayfs"\n'
            f'{cri}.cni]\n  bin_dir = "/usr/lib/cni"\n  conf_dir = "{network}"\n'
        )

    def _write_kubelet(self) -> None:
        pair = self._pairs["kubelet"]
        resolver = self._folder / "pod-resolv.conf"
        resolver.write_text(f"nameserver {namespace.NODE_ADDRESS}\n")
        document = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{_CGROUP}",
            # The machine may have control groups of version 1, mounted beyond our reach.
            "failCgroupV1": False,
            "localStorageCapacityIsolation": False,
            "failSwapOn": False,
            "clusterDNS": [namespace.NODE_ADDRESS],
            "clusterDomain": "cluster.local",
            "resolvConf": str(resolver),
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self._authority.certificate)},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pair.certificate),
            "tlsPrivateKeyFile": str(pair.key),
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "evictionHard": {"memory.available": "100Mi"},
            "maxPods": 250,
            # Dozens of applications start at once; these are the limits of a real node, raised.
            "registryPullQPS": 50,
            "registryBurst": 100,
            "serializeImagePulls": False,
        }
        self._folder.joinpath("kubelet.yaml").write_text(yaml.safe_dump(document))

    @property
    def _socket(self) -> Path:
        return self._folder / "containerd-state/containerd.sock"

    def make_storage(self) -> None:
        """Make a default storage class and volumes for it: folders of this machine.

        Volumes whose claim is gone are made anew: Kubernetes itself never gives those out again.
        """
        listed = self.kubectl(
            "get",
            "persistentvolumes",
            "--output=jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}",
        )
        released = [
            name
            for name, _, phase in (v.partition("=") for v in listed.split())
            if phase == "Released"
        ]
        for name in released:
            self.kubectl("delete", "persistentvolume", name)
            shutil.rmtree(
                self._folder / "volumes" / name.removeprefix("local-"), ignore_errors=True
            )
        documents: list[dict[str, object]] = [
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {
                    "name": "local",
                    "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
                },
                "provisioner": "kubernetes.io/no-provisioner",
            }
        ]
        for number in range(_VOLUMES):
            place = self._folder / f"volumes/{number}"
            place.mkdir(parents=True, exist_ok=True)
            # The users of the containers are unknown here.
            place.chmod(0o777)
            documents.append(
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolume",
                    "metadata": {"name": f"local-{number}"},
                    "spec": {
                        "storageClassName": "local",
                        "capacity": {"storage": "50Gi"},
                        "accessModes": ["ReadWriteOnce"],
                        "persistentVolumeReclaimPolicy": "Retain",
                        "hostPath": {"path": str(place)},
                    },
                }
            )
        manifest = self._folder / "storage.yaml"
        manifest.write_text(yaml.safe_dump_all(documents))
        self.kubectl("apply", "--filename", str(manifest))

    def _pod_processes(self) -> list[int]:
        """Find the processes of pods: the shims by their socket, the rest by control group."""
        found: set[int] = set()
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = command.read_text(errors="replace").split("\0")
            except OSError:
                continue
            if "containerd-shim" in words[0] and str(self._socket) in words:
                found.add(int(command.parent.name))
        for group in self._cgroups():
            try:
                found |= {int(line) for line in (group / "cgroup.procs").read_text().split()}
            except OSError:
                continue
        return sorted(found)

    def _remove_cgroups(self) -> None:
        for group in sorted(self._cgroups(), key=lambda path: len(path.parts), reverse=True):
            for _ in range(20):
                try:
                    group.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    # The kernel has not finished with a process yet.
                    time.sleep(0.1)
                else:
                    break

    def _cgroups(self) -> list[Path]:
        """List the control groups of pods, of either version of control groups.

        Groups go while they are listed, as their last processes end: os.walk passes over those,
        where Path.rglob fails.
        """
        return [Path(path) for root in self._cgroup_roots() for path, _, _ in os.walk(root)]

    @staticmethod
    def _cgroup_roots() -> list[Path]:
        """Give the testbed's own group in each hierarchy; version 2 has only one."""
        if _CGROUPS.joinpath("cgroup.procs").exists():
            return [_CGROUPS / _CGROUP]
        return [path / _CGROUP for path in _CGROUPS.iterdir() if path.is_mount()]
