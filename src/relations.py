"""The charm's relations: where its traces go, and the authorities that another charm names."""

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
_AUTHORITIES = "receive-ca-cert"


class Relations:
    """What other charms give to this one. Every relation is optional."""

    def __init__(self, charm: ops.CharmBase) -> None:
        # Before any event, because ops sends at the end of the hook to where it knows then.
        if obstacle := _obstacle_to_traces(charm.model.relations[_TRACING]):
            logger.warning("no traces are sent: %s", obstacle)
            ops.tracing.set_destination(None, None)
        else:
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


def _obstacle_to_traces(relations: Sequence[ops.Relation]) -> str:
    """Return why traces cannot go to the related collector; empty if they can, or there is none.

    The format: interface ``tracing``, version 2 (charmlibs, "interfaces/tracing").
    """
    for relation in relations:
        if not relation.active:
            continue
        try:
            receivers = json.loads(relation.data[relation.app].get("receivers", "[]"))
            urls = [each["url"] for each in receivers if each["protocol"]["name"] == _PROTOCOL]
        except (ValueError, TypeError, KeyError, RecursionError):
            return f"{relation.app.name} does not name its collector as the interface says"
        if any(str(url).lower().startswith("http:") for url in urls):
            return (
                f"the collector of {relation.app.name} has a plain HTTP address: give it a "
                f"certificate, and relate {_AUTHORITIES} to the charm that names its CA"
            )
    return ""
