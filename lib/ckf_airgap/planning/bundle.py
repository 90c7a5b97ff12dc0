"""Renders the bundle of a plan."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ckf_airgap.planning.plan import Plan

TEMPLATE = "bundle.yaml.j2"


def render_bundle(
    plan: Plan, templates: Path, resource_files: Mapping[tuple[str, str], Path] | None = None
) -> str:
    """Render the bundle of a plan (Juju documentation, "Bundle").

    Charm paths are absolute and each application has its base, because Juju looks for the base of
    a local charm relative to its working directory, not to the bundle.

    Args:
        plan: The plan; its excluded applications are left out.
        templates: The directory of ``bundle.yaml.j2``.
        resource_files: (application, resource) -> file with the image reference and its pull
            credentials, which replaces the reference.

    Returns:
        The bundle as YAML.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # A bundle is YAML: no HTML escapes.
        autoescape=False,  # noqa: S701
        # The YAML library writes each value of the template, and each key.
        finalize=_as_yaml,
    )
    return environment.get_template(TEMPLATE).render(
        applications=plan.bundled,
        relations=plan.bundled_relations,
        resource_files=resource_files or {},
    )


class _Dumper(yaml.SafeDumper):
    """Quotes every text, because Juju reads more plain texts as numbers than PyYAML does."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Quote a text, key or value."""
        return yaml.ScalarNode("tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _Dumper.represent_text)


def _as_yaml(value: Any) -> str:
    """Write a value as one line of YAML, and escape characters that YAML does not allow."""
    document = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=sys.maxsize
    )
    return document.removesuffix("...\n").strip()
