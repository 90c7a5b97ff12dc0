"""The bundle: what of a plan the juju client deploys at once."""

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

    Charm paths are absolute and each application names its base: Juju looks for a local charm's
    base relative to its own working directory, not to the bundle's.

    Args:
        plan: The plan; its excluded applications are left out.
        templates: The directory that holds ``bundle.yaml.j2``.
        resource_files: For application and resource the file to give in place of the image's
            reference: it holds the credentials to pull it with.

    Returns:
        The bundle as YAML.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # A bundle is YAML, which HTML escapes would spoil.
        autoescape=False,  # noqa: S701
        # Whatever the template puts in, a key as well, is written by the YAML library.
        finalize=_written,
    )
    return environment.get_template(TEMPLATE).render(
        applications=plan.bundled,
        relations=plan.bundled_relations,
        resource_files=resource_files or {},
    )


class _Dumper(yaml.SafeDumper):
    """Quotes every text, because Juju takes more plain texts for numbers than PyYAML does."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Represent a text, be it a key or a value."""
        return yaml.ScalarNode("tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _Dumper.represent_text)


def _written(value: Any) -> str:
    """Write a value as YAML on one line, with an escape for what YAML does not take."""
    document = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=sys.maxsize
    )
    return document.removesuffix("...\n").strip()
