"""A planned application, as the juju client is given it."""

from ckf_airgap.deployment.pull_secrets import ResourceFiles
from ckf_airgap.juju.juju_values import LocalApplication
from ckf_airgap.planning.plan import PlannedApplication


def local_application(
    item: PlannedApplication, resource_files: ResourceFiles | None = None
) -> LocalApplication:
    """Return an application as the juju client is given it.

    Args:
        item: The application as planned.
        resource_files: For application and resource the file to give in place of the image's
            reference: it holds the credentials to pull it with.
    """
    files = resource_files or {}
    return LocalApplication(
        name=item.name,
        file=item.file,
        base=item.base,
        resources={
            resource: str(files.get((item.name, resource), reference))
            for resource, reference in item.resources.items()
        },
        options=item.options,
        constraints=item.constraints,
        scale=item.scale,
        trust=item.trust,
        storage=item.settings.get("storage"),
    )
