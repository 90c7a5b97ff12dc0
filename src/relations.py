"""The charm's relations: tracing, and CA certificates from another charm."""

import ssl
from collections.abc import Sequence

import ops
from charmlibs.interfaces.certificate_transfer import CertificateTransferRequires

from ckf_airgap.errors import ConfigurationError

_TRACING = "charm-tracing"
_CA_CERTIFICATES = "receive-ca-cert"


class Relations:
    """The charm's relations. All are optional."""

    def __init__(self, charm: ops.CharmBase) -> None:
        self._tracing = ops.tracing.Tracing(charm, _TRACING, ca_relation_name=_CA_CERTIFICATES)
        self._certificates = CertificateTransferRequires(charm, _CA_CERTIFICATES)

    @property
    def changes(self) -> Sequence[ops.BoundEvent]:
        """The events after which the trusted CA certificates change."""
        on = self._certificates.on
        return on.certificate_set_updated, on.certificates_removed

    def ca_certificates(self) -> str:
        """Return the concatenated PEM certificates of ``receive-ca-cert``; empty for none.

        Raises:
            ConfigurationError: One of them is not valid PEM.
        """
        certificates = sorted(self._certificates.get_all_certificates())
        for certificate in certificates:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
            except (ssl.SSLError, ValueError):
                raise ConfigurationError(
                    f"the relation {_CA_CERTIFICATES} provides a certificate that is not PEM",
                    "remove the relation (juju status --relations shows it), and set registry-ca "
                    "instead",
                ) from None
        return "\n".join(certificates)
