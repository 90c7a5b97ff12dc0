"""How the public air-gap scripts name images and files.

Written a second time on purpose, without the project's own rules: the artifacts made here test
those.
"""

RETAG_REGISTRY = "172.17.0.2:5000"
"""The registry that the public scripts retag to unless told otherwise."""


def retagged_name(image: str, registry: str = RETAG_REGISTRY) -> str:
    """Give the name under which the public scripts store an image in their own registry."""
    components = image.replace("@sha256", "").split("/")
    if len(components) > 2:
        components = components[1:]
    return "/".join([registry, *components])


def member_name(image: str) -> str:
    """Give the file name of the ``docker save`` archive of an image of that name."""
    return image.replace("/", "-").replace(":", "-") + ".tar"


def seed_member_name(image: str) -> str:
    """Give the file name in the style of the instructions for CKF 1.7: ``jupyter-web-app.tar``."""
    return repository(image).rpartition("/")[2] + ".tar"


def repository(image: str) -> str:
    """Give the name of an image without its tag and digest."""
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]


def repository_tag(image: str) -> str | None:
    """Give the name that docker writes into an archive; none for an image saved by digest."""
    if "@" in image:
        return None
    return image if repository(image) != image else f"{image}:latest"


def organisation(image: str) -> str:
    """Give the first part of an image's path that is not the name of a registry."""
    components = repository(image).split("/")
    if len(components) > 1 and (set(components[0]) & set(".:")):
        components = components[1:]
    return components[0] if len(components) > 1 else "library"


def canonical_name(image: str) -> str:
    """Give the full name as containerd spells it: with registry, and ``library`` where needed."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if set(first) & set(".:") or first == "localhost" else f"docker.io/{image}"
