"""The charm's relations: where its traces go, and the authorities that another charm names."""

import ssl
from collections.abc import Sequence

import ops
from charmlibs.interfaces.certificate_transfer import CertificateTransferRequires

from ckf_airgap.errors import ConfigurationError

_TRACING = "charm-tracing"
_AUTHORITIES = "receive-ca-cert"


class Relations:
    """What other charms give to this one. Every relation is optional."""

    def __init__(self, charm: ops.CharmBase) -> None:
        self._tracing = ops.tracing.Tracing(charm, _TRACING, ca_relation_name=_AUTHORITIES)
        self._certificates = CertificateTransferRequires(charm, _AUTHORITIES)

    @property
    def changes(self) -> Sequence[ops.BoundEvent]:
        """The events after which other authorities are trusted."""
        on = self._certificates.on
        return on.certificate_set_updated, on.certificates_removed

    def authorities(self) -> str:
        """Return the PEM certificates of ``receive-ca-cert``, one after the other; empty for none.

        Raises:
            ConfigurationError: One of them is not a PEM certificate.
        """
        certificates = sorted(self._certificates.get_all_certificates())
        for certificate in certificates:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
            except (ssl.SSLError, ValueError):
                raise ConfigurationError(
                    f"the relation {_AUTHORITIES} names a certificate that is not PEM",
                    f"remove the relation, and give the certificate with registry-ca: juju status "
                    f"--relations shows what {_AUTHORITIES} is related to",
                ) from None
        return "\n".join(certificates)
