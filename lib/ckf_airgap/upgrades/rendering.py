"""Renders a walk as text, as plain data, and as a diagram."""

import shlex
from itertools import groupby, pairwise
from typing import Any, cast

from ckf_airgap.charms.charm_version import Version
from ckf_airgap.errors import printable
from ckf_airgap.upgrades.start_and_target import TargetApplication
from ckf_airgap.upgrades.walk_steps import Backup, Step, Walk

_BACK_UP = "Back up these first, with no pipeline, experiment, training or notebook running:"
# Special characters in a Mermaid label, or in its HTML.
_MERMAID = str.maketrans(
    {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"}
)


def in_words(step: Step) -> str:
    """Describe a step in one printable line that begins with a verb."""
    return printable(step.words)


def command(step: Step) -> str:
    """Return the juju command of a step; empty for a wait.

    Images and options are left out, or abbreviated as ``NAME=...``.
    """
    arguments = step.arguments
    return printable(shlex.join(["juju", *arguments])) if arguments else ""


def walk_document(walk: Walk) -> dict[str, Any]:
    """Return a walk as plain data.

    Returns:
        A map with ``from`` and ``to`` (releases, or None), ``steps`` (number, phase, kind, the
        attributes of the step, ``words``, juju command), ``backups`` and ``left``.
    """
    return {
        "from": walk.before.release if walk.before else None,
        "to": walk.after.release if walk.after else None,
        "steps": [
            {
                "number": number,
                "phase": phase.value,
                "kind": type(step).__name__,
                **_values(step),
                "words": in_words(step),
                "command": command(step),
            }
            for number, (phase, step) in enumerate(walk.steps, 1)
        ],
        "backups": [
            {
                "application": backup.application,
                "data": backup.data,
                "command": backup.command,
                "note": backup.note,
                "is_lost": backup.is_lost,
            }
            for backup in walk.backups
        ],
        "left": list(walk.left),
    }


def walk_table(walk: Walk) -> str:
    """Write a walk as text: title, backups, a line for each step, unchanged applications."""
    lines = [walk_title(walk)]
    if not walk.steps:
        return lines[0]
    if walk.backups:
        lines += ["", _BACK_UP]
        lines += [f"  {_backup_line(backup)}" for backup in walk.backups]
    width = len(str(len(walk.steps)))
    numbered = enumerate(walk.steps, 1)
    for phase, steps in groupby(numbered, key=lambda item: item[1][0]):
        lines += ["", f"{phase.value}:"]
        lines += [f"  {number:>{width}}  {in_words(step)}" for number, (_, step) in steps]
    if walk.left:
        lines += ["", f"Left as they are: {', '.join(walk.left)}"]
    return "\n".join([*lines, ""])


def walk_diagram(walk: Walk) -> str:
    """Write a walk as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html).

    The backups come first, then a subgraph for each phase.
    """
    lines = ["flowchart TD"]
    nodes: list[str] = []
    for number, backup in enumerate(walk.backups, 1):
        nodes.append(f"b{number}")
        lines.append(f'  b{number}["{_label(f"back up {_backup_line(backup)}")}"]')
    numbered = enumerate(walk.steps, 1)
    for phase, steps in groupby(numbered, key=lambda item: item[1][0]):
        lines.append(f'  subgraph {phase.name.lower()}["{_label(phase.value)}"]')
        for number, (_, step) in steps:
            nodes.append(f"s{number}")
            lines.append(f'    s{number}["{_label(f"{number}. {in_words(step)}")}"]')
        lines.append("  end")
    lines += [f"  {first} --> {second}" for first, second in pairwise(nodes)]
    return "\n".join([*lines, ""])


def walk_markdown(walk: Walk) -> str:
    """Write a walk as Markdown, with its diagram: for a change request."""
    return (
        f"# {walk_title(walk)}\n\n```text\n{walk_table(walk).rstrip()}\n```\n\n"
        f"```mermaid\n{walk_diagram(walk)}```\n"
    )


def walk_title(walk: Walk) -> str:
    """Describe start, target and number of steps in one line."""
    if not walk.steps:
        return "nothing to do: the model is as planned"
    before = walk.before.release if walk.before else "the running release"
    after = walk.after.release if walk.after else "the planned release"
    return f"From {before} to {after}: {len(walk.steps)} steps"


def _backup_line(backup: Backup) -> str:
    lost = " (LOST in the upgrade)" if backup.is_lost else ""
    command_part = f": {backup.command}" if backup.command else ""
    note = f" ({backup.note})" if backup.note else ""
    return printable(f"{backup.application}, {backup.data}{lost}{command_part}{note}")


def _values(step: Step) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in vars(step).items():
        if isinstance(value, TargetApplication):
            version = str(value.version) if value.version else None
            values |= {"application": value.name, "charm": value.charm.name}
            values |= {"file": value.charm.label, "to": version}
        elif isinstance(value, Version):
            values[name] = str(value)
        elif name == "relation":
            values[name] = [str(side) for side in value]
        elif isinstance(value, tuple):
            values[name] = list(cast(tuple[str, ...], value))
        else:
            values[name] = value
    return values


def _label(text: str) -> str:
    return printable(text).translate(_MERMAID)
