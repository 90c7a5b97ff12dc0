"""OpenTofu with a provider from a folder, as on a machine without internet.

The provider is a stand-in with the schema of the Juju provider, or the provider itself where
``CKF_JUJU_PROVIDER`` names its program.
"""

import os
import shutil
import subprocess
from pathlib import Path

from testbed import builds

# The configurations ask for it; the stand-in has what this version has.
_PROVIDER_VERSION = "2.3.0"


class OpenTofu:
    """Runs OpenTofu.

    Args:
        folder: An empty folder for its configuration and the provider.
    """

    def __init__(self, folder: Path) -> None:
        mirror = folder / f"mirror/registry.opentofu.org/juju/juju/{_PROVIDER_VERSION}/linux_amd64"
        mirror.mkdir(parents=True)
        given = os.environ.get("CKF_JUJU_PROVIDER")
        provider = Path(given) if given else builds.juju_provider()
        shutil.copy2(provider, mirror / f"terraform-provider-juju_v{_PROVIDER_VERSION}")
        self._configuration = folder / "tofurc"
        self._configuration.write_text(
            "provider_installation {\n  filesystem_mirror {\n"
            f'    path = "{folder / "mirror"}"\n  }}\n}}\n'
        )

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command; its errors are in its output."""
        return subprocess.run(
            [builds.opentofu(), words[0], "-no-color", *words[1:]],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "TF_CLI_CONFIG_FILE": str(self._configuration)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def must(self, folder: Path, *words: str) -> str:
        """Run a command that has to succeed; gives its output."""
        outcome = self.run(folder, *words)
        assert outcome.returncode == 0, outcome.stdout
        return outcome.stdout
