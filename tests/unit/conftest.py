"""What the unit tests share: the artifacts of the built-in release, made once."""

import pytest
from hypothesis import HealthCheck, settings

from tests.sample_release import ImageOptions, Release, SampleRelease, write_release

# How long an example takes says more of the machine than of what is tested.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> SampleRelease:
    """Both files of the built-in release. Tests must not change them."""
    return write_release(
        Release.builtin(),
        tmp_path_factory.mktemp("builtin"),
        ImageOptions(program=b"not a program, and quick to make"),
    )
