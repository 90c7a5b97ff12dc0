"""The bundle: what of a plan the juju client deploys at once."""

import sys
from pathlib import Path

import jinja2
import yaml

from ckf_airgap.planning.plan import Plan
from ckf_airgap.planning.topology import OptionValue

TEMPLATE = "bundle.yaml.j2"


def render_bundle(plan: Plan, templates: Path) -> str:
    """Render the bundle of a plan (Juju documentation, "Bundle").

    Charm paths are absolute and each application names its base: Juju looks for a local charm's
    base relative to its own working directory, not to the bundle's.

    Args:
        plan: The plan; its excluded applications are left out.
        templates: The folder that holds ``bundle.yaml.j2``.

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
        applications=plan.bundled, relations=plan.bundled_relations
    )


def _quoted(value: OptionValue) -> str:
    """Write a scalar as YAML on one line; unlike JSON it escapes all that YAML does not take."""
    style = '"' if isinstance(value, str) else None
    document = yaml.safe_dump(value, default_style=style, allow_unicode=True, width=sys.maxsize)
    return document.removesuffix("...\n").strip()
