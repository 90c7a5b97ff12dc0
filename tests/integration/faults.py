"""What goes wrong in a data centre, brought about on the testbed."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed import Testbed
from tests.support.operator_steps import APPLICATION, UNIT, Operator

# How long anything is waited for: only what hangs takes as long.
_HANG_SECONDS = 1800.0


class Task:
    """An action that was started and not waited for."""

    def __init__(self, operator: Operator, action: str, **parameters: object) -> None:
        words = [f"{name}={value}" for name, value in parameters.items()]
        command = [operator.site.juju, "run", "--model", operator.model, UNIT, action]
        done = subprocess.run(
            [*command, *words, "--background"], check=True, capture_output=True, text=True
        )
        match = re.search(r"with task (\d+)", done.stdout + done.stderr)
        assert match, done
        self._operator = operator
        self.number = match[1]

    @property
    def document(self) -> dict[str, Any]:
        """What Juju says of it."""
        return json.loads(self._operator.juju.cli("show-task", self.number, "--format", "json"))

    @property
    def status(self) -> str:
        """Its status."""
        return str(self.document["status"])

    @property
    def log(self) -> str:
        """What it has said so far."""
        return json.dumps(self.document.get("log", ""))

    def wait_until(self, holds: Callable[[], object], seconds: float = _HANG_SECONDS) -> None:
        """Wait for something to happen while it runs."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.document
            time.sleep(0.5)

    def wait_for_end(self, seconds: float = _HANG_SECONDS) -> str:
        """Wait until it has ended, in whatever way; gives its status."""
        self.wait_until(lambda: self.status not in ("pending", "running", "aborting"), seconds)
        return self.status


def wait_for_push(testbed: Testbed, place: str) -> None:
    """Wait until the registry has got the first image below a path that nobody used before."""
    registry = testbed.registry
    log = registry.processes.log(registry.data.name)
    first = re.compile(rf'"PUT /v2/{place}/\S+/manifests/')
    deadline = time.monotonic() + _HANG_SECONDS
    # From its start: the push may have come so far before this looks.
    with log.open(errors="replace") as lines:
        unfinished = ""
        while not first.search(text := unfinished + lines.read()):
            unfinished = text[text.rfind("\n") + 1 :]
            assert time.monotonic() < deadline, f"nothing is pushed to {place}"
            time.sleep(0.02)


def kill_pod(operator: Operator, testbed: Testbed) -> None:
    """Kill the charm's pod without warning, and wait until there is another with an agent."""
    before = pod(testbed, operator)["metadata"]["uid"]
    words = ["delete", "pod", f"{APPLICATION}-0", "--force", "--grace-period=0"]
    _kubectl(testbed, *words, "--namespace", operator.model)
    deadline = time.monotonic() + _HANG_SECONDS
    while time.monotonic() < deadline:
        try:
            found = pod(testbed, operator)
        except subprocess.CalledProcessError:
            continue
        if found["metadata"]["uid"] != before and found["status"].get("phase") == "Running":
            # Juju 4.1-beta2 may call the new agent lost although it works: what is run next waits
            # for it.
            return
        time.sleep(1)
    raise AssertionError("the pod did not come back")


def kill_action(operator: Operator, testbed: Testbed) -> None:
    """End the process of the action that runs, without warning."""
    (process,) = [
        pid for pid in processes_of_pod(testbed, operator) if "src/charm.py" in command_of(pid)
    ]
    os.kill(process, signal.SIGKILL)


def pod(testbed: Testbed, operator: Operator) -> dict[str, Any]:
    """Give what Kubernetes says of the charm's pod."""
    words = ["get", "pod", f"{APPLICATION}-0", "--namespace", operator.model, "-o", "json"]
    return json.loads(_kubectl(testbed, *words))


def processes_of_pod(testbed: Testbed, operator: Operator) -> list[int]:
    """List the processes of the charm's pod, which all run on this machine."""
    uid = str(pod(testbed, operator)["metadata"]["uid"])
    marks = (uid, uid.replace("-", "_"))
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            groups = folder.joinpath("cgroup").read_text()
        except OSError:
            continue
        if any(mark in groups for mark in marks):
            found.append(int(folder.name))
    return found


def command_of(pid: int) -> str:
    """Give the command line of a process; an empty string where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@contextmanager
def without_network(testbed: Testbed, port: int) -> Generator[None]:
    """Let nothing of the pods through to a port of the node, for as long as wanted."""
    rule = ["INPUT", "-s", "10.78.0.0/16", "-p", "tcp", "--dport", str(port), "-j", "DROP"]
    testbed.run(["iptables", "-I", *rule])
    try:
        yield
    finally:
        testbed.run(["iptables", "-D", *rule])


@contextmanager
def full_disk(testbed: Testbed, operator: Operator, folder: str) -> Generator[None]:
    """Let a folder of the charm's container lie on a disk that is full, for as long as wanted."""
    agent = next(
        pid for pid in processes_of_pod(testbed, operator) if "containeragent" in command_of(pid)
    )
    enter = ["nsenter", f"--target={agent}", "--mount"]
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k,mode=0777", "none", folder]
    subprocess.run([*enter, *mount], check=True)
    try:
        yield
    finally:
        subprocess.run([*enter, "umount", folder], check=True)


@contextmanager
def silent_controller() -> Generator[None]:
    """Let the controller not answer, for as long as wanted; connections stay.

    That it is restarted cannot be brought about: the agent of Juju 4.1-beta2 does not always come
    back from that while models have units ("missing APIPort").
    """
    (agent,) = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if "jujuagentd machine" in command_of(int(folder.name))
    ]
    os.kill(agent, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent, signal.SIGCONT)


def _kubectl(testbed: Testbed, *words: str) -> str:
    done = subprocess.run(
        [str(testbed.kubectl_wrapper), *words], check=True, capture_output=True, text=True
    )
    return done.stdout
