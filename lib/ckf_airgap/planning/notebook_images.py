"""The notebooks that were packed for users, in the lists that Kubeflow's users choose from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.image_options import ImageListOption, ImageOption
from ckf_airgap.juju.juju_values import OptionValue

_CHARM = "jupyter-ui"
_OPTIONS = {"jupyter": "jupyter-images", "vscode": "vscode-images", "rstudio": "rstudio-images"}
"""The options of that charm, by what their images are for."""


def with_notebook_images(
    options: Iterable[ImageOption],
    charm: CharmFile,
    own: Mapping[str, OptionValue],
    user_images: Mapping[str, Sequence[str]],
) -> Iterator[ImageOption]:
    """Append the notebooks of users to the lists that the charm has for them.

    Args:
        options: The options of an application that name images.
        charm: Its charm.
        own: The options that the operator sets; to these nothing is added.
        user_images: The images that users take, by what they are for.

    Returns:
        The options. The charm's own image stays the first, which is the one that is offered.
    """
    added = {
        option: tuple(user_images.get(purpose, ()))
        for purpose, option in _OPTIONS.items()
        if charm.name == _CHARM and option in charm.options and not own.get(option)
    }
    for option in options:
        if isinstance(option, ImageListOption):
            yield _appended(option, added.pop(option.name, ()))
        else:
            yield option
    # The charm's default may be an empty list.
    for name, images in added.items():
        if images:
            yield ImageListOption(name, images)


def _appended(option: ImageListOption, images: Sequence[str]) -> ImageListOption:
    return ImageListOption(option.name, tuple(dict.fromkeys((*option.images, *images))))
