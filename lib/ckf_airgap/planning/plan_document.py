"""Reports a plan to the operator and to programs."""

from typing import Any

import yaml

from ckf_airgap.images.registry_location import RegistryLocation
from ckf_airgap.planning.plan import Plan


def plan_document(plan: Plan, location: RegistryLocation) -> dict[str, Any]:
    """Return a plan as plain data.

    Args:
        plan: The plan.
        location: Its registry prefix.

    Returns:
        A map with ``applications`` (by name: charm, file, excluded, trust, scale, resources,
        options), ``relations`` (pairs of ``application:endpoint``), ``missing`` (image, its users,
        and a note if there is one), ``resolved`` (image, rule, reference), ``fixed_images`` (in
        the charms' code: image, application, purpose, whether it is required, the reference on a
        mirror) and ``warnings``.
    """
    return {
        "applications": {
            item.name: {
                "charm": item.charm,
                "file": item.label or item.file.name,
                "excluded": item.is_excluded,
                "trust": item.trust,
                "scale": item.scale,
                "resources": dict(item.resources),
                "options": dict(item.options),
            }
            for item in plan.applications
        },
        "relations": [[str(first), str(second)] for first, second in plan.relations],
        "missing": [
            {
                "image": item.image,
                "wanted_by": list(item.wanted_by),
                **({"note": item.note} if item.note else {}),
            }
            for item in plan.missing
        ],
        "resolved": [
            {"image": item.image, "by": item.by.value, "to": location.reference(item.path)}
            for item in plan.resolved
            if item.by and item.path
        ],
        "fixed_images": [
            {
                "image": item.image,
                "application": item.application,
                "purpose": item.purpose,
                "required": item.is_required,
                "mirror": item.mirror,
            }
            for item in plan.fixed_images
        ],
        "warnings": [
            *(f"charms.tar.gz lacks the {charm}" for charm in plan.missing_charms),
            *(
                f"{item.name} cannot be deployed: no image for {item.lacking_in_words}"
                for item in plan.incomplete
            ),
            *map(str, plan.warnings),
        ],
    }


def plan_report(plan: Plan, location: RegistryLocation) -> str:
    """Return how each image was found, the missing images, and the warnings, as YAML."""
    document = plan_document(plan, location)
    kept = {key: document[key] for key in ("missing", "resolved", "warnings")}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100)
