"""The charm's relations: tracing, and CA certificates from another charm."""

import json
import logging
import ssl
from collections.abc import Sequence

import ops
from charmlibs.interfaces.certificate_transfer import CertificateTransferRequires

from ckf_airgap.errors import ConfigurationError

logger = logging.getLogger(__name__)

_TRACING = "charm-tracing"
_PROTOCOL = "otlp_http"
_CA_CERTIFICATES = "receive-ca-cert"


class Relations:
    """The charm's relations. All are optional."""

    def __init__(self, charm: ops.CharmBase) -> None:
        # Set this before any event: at the end of the hook, ops sends the traces to the
        # destination that is set by then.
        if obstacle := _obstacle_to_traces(charm.model.relations[_TRACING]):
            logger.warning("no traces are sent: %s", obstacle)
            ops.tracing.set_destination(None, None)
        else:
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


def _obstacle_to_traces(relations: Sequence[ops.Relation]) -> str:
    """Return why traces cannot be sent to the related collector; empty if nothing prevents it.

    The relation data follow the interface ``tracing``, version 2 (charmlibs,
    "interfaces/tracing").
    """
    for relation in relations:
        if not relation.active:
            continue
        try:
            receivers = json.loads(relation.data[relation.app].get("receivers", "[]"))
            urls = [
                receiver["url"]
                for receiver in receivers
                if receiver["protocol"]["name"] == _PROTOCOL
            ]
        except (ValueError, TypeError, KeyError, RecursionError):
            return (
                f"the relation data of {relation.app.name} does not follow the interface tracing: "
                "use another charm as the collector, or remove the relation"
            )
        if any(str(url).lower().startswith("http:") for url in urls):
            return (
                f"the collector of {relation.app.name} has a plain HTTP address: give it a "
                f"certificate, and relate {_CA_CERTIFICATES} to the charm that provides its CA "
                "certificate"
            )
    return ""
