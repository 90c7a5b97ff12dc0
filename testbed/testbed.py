"""The testbed as a whole: up, down, and what tests use of it."""

import os
import shutil
import sys
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from testbed import builds, charm_pack, images, large_archive, namespace, rootfs
from testbed.collector import Collector
from testbed.controller import Controller, write_wrapper
from testbed.file_server import FileServer
from testbed.host import install_packages, run, say, step
from testbed.kubernetes import Kubernetes
from testbed.namespace import Namespace
from testbed.pki import Authority
from testbed.processes import Processes
from testbed.registry import Registry

_DEFAULT_FOLDER = "/var/lib/ckf-airgap-testbed"
_OPEN = ("registry", "registry.airgap.test", 5000)
_CLOSED = ("registry-auth", "registry-auth.airgap.test", 5001)
_FILES_PORT = 5002
_SPARE = ("registry-spare", namespace.NODE_ADDRESS, 5003)
_ARCHIVE_PORT = 5004
_COLLECTOR_PORT = 5005
_CLEAR_COLLECTOR_PORT = 5006
_USERNAME = "pusher"


class Testbed:
    """An air-gapped Kubernetes with two registries and a Juju controller."""

    __test__ = False

    def __init__(self, folder: Path | None = None) -> None:
        """Prepare; nothing is started.

        Args:
            folder: Where it keeps its state; by default CKF_AIRGAP_TESTBED or a folder below
                /var/lib.
        """
        self.folder = folder or Path(os.environ.get("CKF_AIRGAP_TESTBED", _DEFAULT_FOLDER))
        self._processes = Processes(self.folder / "run", self.folder / "log")
        self._space = Namespace(self._processes, self.folder / "namespace")
        self._authority = Authority(self.folder / "pki")
        self.registry = self._registry(_OPEN, None)
        self.authenticated_registry = self._registry(_CLOSED, _USERNAME)
        registries = (self.registry, self.authenticated_registry)
        self._kubernetes = Kubernetes(
            self.folder / "kubernetes", self._processes, self._space, self._authority, registries
        )
        self._controller = Controller(
            self.folder / "juju", self._space, self._kubernetes, self.registry
        )

    @property
    def juju_wrapper(self) -> Path:
        """A juju that can be run from anywhere on this machine."""
        return self.folder / "bin/juju"

    @property
    def kubectl_wrapper(self) -> Path:
        """A kubectl that can be run from anywhere on this machine."""
        return self.folder / "bin/kubectl"

    @property
    def juju_client(self) -> Path:
        """The juju client itself, for the charm."""
        return self._controller.client

    @property
    def controller_charm(self) -> Path:
        """The charm of the controller."""
        return self._controller.charm

    @property
    def kubeconfig(self) -> Path:
        """The account of the cluster's administrator."""
        return self._kubernetes.kubeconfig

    def build(self) -> None:
        """Install and build everything that is kept between runs."""
        install_packages()
        # Downloads and the linker leave cores idle, which another build uses.
        with ThreadPoolExecutor() as executor:
            others = [executor.submit(rootfs.charm_build), executor.submit(_build_juju)]
            builds.pause()
            builds.kubernetes()
            builds.etcd()
            builds.coredns()
            for other in others:
                other.result()

    def up(self) -> None:
        """Bring everything up that is not; repair what died."""
        self.build()
        if self.is_healthy():
            self._kubernetes.make_storage()
            self._write_wrappers()
            say("up already")
            return
        is_dead = any(self._processes.pid(name) is None for name in self._processes.names)
        if is_dead or self._controller.is_half_made():
            # What is left of a crash: the rest may be in any state.
            self.down()
        with step("bringing the testbed up"):
            hosts = [registry.host.partition(":")[0] for registry in self._registries]
            self._space.up(hosts)
            for registry in self._registries:
                registry.start()
            images.push_images(self.registry)
            with step("starting Kubernetes"):
                self._kubernetes.up()
            with step("bootstrapping Juju"):
                self._controller.up()
            self._write_wrappers()
        say(f"juju: {self.juju_wrapper}  kubectl: {self.kubectl_wrapper}")

    def down(self) -> None:
        """Take everything down; what is built and what the registries hold is kept."""
        with step("taking the testbed down"):
            self._kubernetes.down()
            for registry in self._registries:
                registry.stop()
            self._space.down()
            self._controller.forget()
            for name in self._processes.names:
                self._processes.stop(name)
            for name in ("etcd", "containerd-state", "volumes", "kubelet", "cni-addresses"):
                shutil.rmtree(self.folder / "kubernetes" / name, ignore_errors=True)

    def destroy(self) -> None:
        """Take everything down and remove the testbed's folder, registries included."""
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_healthy(self) -> bool:
        """Tell whether everything runs and answers."""
        return not any(problem for _, problem in self.status())

    def status(self) -> list[tuple[str, str]]:
        """Look at every part.

        Returns:
            A name and what is wrong with it for each, an empty string where nothing is.
        """
        parts = ["namespace", "registry", "registry-auth", *self._kubernetes.programs]
        found = [(name, "" if self._processes.pid(name) else "does not run") for name in parts]
        if any(problem for _, problem in found):
            return found
        found.append(("node", "" if self._kubernetes.is_ready() else "is not ready"))
        found.append(("controller", "" if self._controller.is_up() else "does not answer"))
        return found

    def command(self, args: Sequence[str | Path]) -> list[str]:
        """Give the command that runs a command inside, with the environment of juju."""
        environment = self._controller.environment
        assignments = [f"{name}={value}" for name, value in environment.items()]
        path = f"PATH={self.folder / 'bin'}:{os.environ['PATH']}"
        return self._space.command(["env", *assignments, path, *args])

    def run(self, args: Sequence[str | Path], stdin: str | None = None) -> str:
        """Run a command inside to its end; gives its output."""
        return run(self.command(args), stdin=stdin)

    @contextmanager
    def serving(self, folder: Path) -> Generator[FileServer]:
        """Serve the files of a folder inside, from the node's address, for as long as wanted."""
        server = FileServer(
            address=f"{namespace.NODE_ADDRESS}:{_FILES_PORT}",
            root=folder,
            state=self.folder / "files",
            certificate=self._authority.issue("files", namespace.NODE_ADDRESS),
            processes=self._processes,
            wrap=self._space.command,
        )
        server.stop()
        shutil.rmtree(server.state, ignore_errors=True)
        server.start()
        try:
            yield server
        finally:
            server.stop()

    @contextmanager
    def large_archive(self, images: int, layer_mib: int) -> Generator[str]:
        """Serve an images.tar.gz that is made as it is read; gives its address.

        Args:
            images: How many images it holds.
            layer_mib: The size of the one layer that each has, in MiB. No two are the same.
        """
        name, address = "large-archive", f"{namespace.NODE_ADDRESS}:{_ARCHIVE_PORT}"
        pair = self._authority.issue("files", namespace.NODE_ADDRESS)
        script = Path(large_archive.__file__)
        words = [sys.executable, script, address, pair.certificate, pair.key, images, layer_mib]
        self._processes.stop(name)
        self._processes.start(name, self._space.command([str(word) for word in words]))
        log = self._processes.log(name)
        try:
            while not log.exists() or large_archive.READY not in log.read_text():
                self._processes.require(name)
                time.sleep(0.2)
            yield f"https://{address}/images.tar.gz"
        finally:
            self._processes.stop(name)
            log.unlink(missing_ok=True)

    @contextmanager
    def collector(self) -> Generator[Collector]:
        """Run a collector of traces inside, which has taken none before."""
        collector = Collector(
            address=f"{namespace.NODE_ADDRESS}:{_COLLECTOR_PORT}",
            clear_address=f"{namespace.NODE_ADDRESS}:{_CLEAR_COLLECTOR_PORT}",
            state=self.folder / "collector",
            certificate=self._authority.issue("files", namespace.NODE_ADDRESS),
            processes=self._processes,
            wrap=self._space.command,
        )
        collector.stop()
        collector.start()
        try:
            yield collector
        finally:
            collector.stop()

    @contextmanager
    def spare_registry(self) -> Generator[Registry]:
        """Run one more registry, of which nothing is left."""
        registry = self._registry(_SPARE, None)
        shutil.rmtree(registry.data, ignore_errors=True)
        registry.start()
        try:
            yield registry
        finally:
            registry.stop()
            shutil.rmtree(registry.data, ignore_errors=True)

    def pack(self, project: Path, output: Path) -> Path:
        """Pack a charm with charmcraft; gives the .charm file."""
        install_packages()
        return charm_pack.pack(project, output)

    @property
    def _registries(self) -> tuple[Registry, Registry]:
        return self.registry, self.authenticated_registry

    def _registry(self, which: tuple[str, str, int], username: str | None) -> Registry:
        name, host, port = which
        return Registry(
            host=f"{host}:{port}",
            address=f"{namespace.NODE_ADDRESS}:{port}",
            ca=self._authority.certificate,
            data=self.folder / "registries" / name,
            username=username,
            certificate=self._authority.issue(name, host, namespace.NODE_ADDRESS),
            processes=self._processes,
            wrap=self._space.command,
        )

    def _write_wrappers(self) -> None:
        self.juju_wrapper.parent.mkdir(exist_ok=True)
        for path, program in (
            (self.juju_wrapper, self.juju_client),
            (self.kubectl_wrapper, builds.kubernetes() / "kubectl"),
        ):
            write_wrapper(path, self._space.enter, program, self._controller.environment)


def _build_juju() -> None:
    builds.juju()
    builds.controller_agent()
