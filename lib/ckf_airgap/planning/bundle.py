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
        templates: The folder that holds ``bundle.yaml.j2``.
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
        # A bundle is YAML, which HTML escapes would spoil; every value is quoted as JSON instead.
        autoescape=False,
    )
    environment.filters["quoted"] = _quoted
    return environment.get_template(TEMPLATE).render(
        applications=plan.bundled,
        relations=plan.bundled_relations,
        resource_files=resource_files or {},
    )


def _quoted(value: Any) -> str:
    """Write a value as YAML on one line; unlike JSON it escapes all that YAML does not take."""
    style = '"' if isinstance(value, str) else None
    document = yaml.safe_dump(
        value, default_style=style, default_flow_style=True, allow_unicode=True, width=sys.maxsize
    )
    return document.removesuffix("...\n").strip()
