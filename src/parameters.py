"""The action parameters, as Juju passes them."""

from dataclasses import dataclass

from ckf_airgap.mirrors.runtime_files import ALL_RUNTIMES
from ckf_airgap.upgrades.start_and_target import Permissions


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """The parameters of the action deploy."""

    allow_missing: bool = False

    @property
    def upgrade(self) -> Permissions | None:
        """The permissions for an upgrade; None if this action does not upgrade."""
        return None


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """The parameters of actions that plan an upgrade."""

    allow_data_loss: str = ""
    to_mesh: str = ""

    @property
    def permissions(self) -> Permissions:
        """The permissions for an upgrade."""
        names = (name.strip() for name in self.allow_data_loss.split(","))
        return Permissions(data_loss=frozenset(filter(None, names)), to_mesh=self.to_mesh)


@dataclass(frozen=True, kw_only=True)
class Preflight(Upgrade):
    """The parameters of the action preflight."""

    mirrors: bool = False


@dataclass(frozen=True, kw_only=True)
class Refresh(Upgrade, Deploy):
    """The parameters of the action refresh."""

    dry_run: bool = False

    @property
    def upgrade(self) -> Permissions:
        """The permissions for an upgrade."""
        return self.permissions


@dataclass(frozen=True, kw_only=True)
class PullSecretsAction:
    """The parameters of the action user-pull-secrets."""

    remove: bool = False


@dataclass(frozen=True, kw_only=True)
class Verify:
    """The parameters of the action verify."""

    timeout: int = 1800
    mirrors: bool = False


@dataclass(frozen=True, kw_only=True)
class Mirrors:
    """The parameters of the action mirrors."""

    runtime: str = ALL_RUNTIMES
