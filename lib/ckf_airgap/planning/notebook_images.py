"""Adds packed notebook images to the lists from which Kubeflow's users choose."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ckf_airgap.charms.charm_file import CharmFile
from ckf_airgap.charms.image_options import ImageListOption, ImageOption
from ckf_airgap.juju.juju_values import OptionValue

_CHARM = "jupyter-ui"
_OPTIONS = {"jupyter": "jupyter-images", "vscode": "vscode-images", "rstudio": "rstudio-images"}
"""Kind of notebook -> option of the charm."""


def with_notebook_images(
    options: Iterable[ImageOption],
    charm: CharmFile,
    operator_options: Mapping[str, OptionValue],
    user_images: Mapping[str, Sequence[str]],
) -> Iterator[ImageOption]:
    """Append the packed notebook images to the charm's lists.

    Args:
        options: The options of an application that name images.
        charm: Its charm.
        operator_options: The options that the operator sets, which stay unchanged.
        user_images: Kind of notebook -> packed images.

    Returns:
        The options. The charm's first image stays first, because it is the default.
    """
    added = {
        option: tuple(user_images.get(kind, ()))
        for kind, option in _OPTIONS.items()
        if charm.name == _CHARM and option in charm.options and not operator_options.get(option)
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
