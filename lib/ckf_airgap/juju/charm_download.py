"""Downloads charms from Charmhub with the juju client, without a controller or an account."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ckf_airgap.errors import ConfigurationError, DownloadError
from ckf_airgap.juju.juju_command import error_text, require_name


@dataclass(frozen=True)
class CharmOrigin:
    """The source of a charm on Charmhub.

    Attributes:
        name: The charm.
        channel: The channel, for example ``1.10/stable``; None for the charm's default.
        base: The base, for example ``ubuntu@22.04``; None for the client's default.
        revision: A revision, in place of channel and base; or None.
    """

    name: str
    channel: str | None = None
    base: str | None = None
    revision: int | None = None

    def __str__(self) -> str:
        parts = [self.channel, self.base]
        if self.revision is not None:
            parts = [f"revision {self.revision}"]
        details = ", ".join(part for part in parts if part)
        return f"{self.name} ({details})" if details else self.name


def download_charm(
    client: str, origin: CharmOrigin, target: Path, *, architecture: str, charmhub_url: str = ""
) -> int | None:
    """Download a charm; this needs neither a controller nor an account.

    Args:
        client: The juju client.
        origin: The charm.
        target: The file to write. After a failed download, a part of it may exist.
        architecture: The CPU architecture; not used for a revision.
        charmhub_url: The address of another Charmhub; empty for the public one.

    Returns:
        The downloaded revision; None if the client does not say.

    Raises:
        ConfigurationError: The client cannot be run, or the charm's name is invalid.
        DownloadError: The download fails.
    """
    require_name("charm", origin.name)
    command = [client, "download", origin.name, "--no-progress", "--filepath", str(target)]
    if origin.revision is not None:
        # With a revision, the client accepts no architecture, channel or base.
        command += ["--revision", str(origin.revision)]
    else:
        command += ["--arch", architecture]
        command += ["--channel", origin.channel] if origin.channel else []
        command += ["--base", origin.base] if origin.base else []
    if charmhub_url:
        command += ["--charmhub-url", charmhub_url]
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ConfigurationError(
            f"the juju client {client} cannot be run ({error.strerror})",
            "snap install juju, or give the client with --juju; no client is needed with --charms",
        ) from error
    if process.returncode:
        message = error_text(process.stderr)
        raise DownloadError(
            f"charm {origin}",
            f"cannot be downloaded ({message or 'the client printed no error'})",
            "check the channel or revision with juju info, and that Charmhub can be reached; then "
            "run it again: it continues",
            is_transient=True,
        )
    found = re.search(r"revision (\d{1,18})\b", process.stderr + process.stdout)
    return int(found[1]) if found else None
