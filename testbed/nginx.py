"""Debian's nginx over TLS: its configuration, and how it is run."""

from pathlib import Path

from testbed.pki import KeyPair

_CONFIGURATION = """
daemon off;
user root;
pid {state}/pid;
error_log stderr;
events {{}}
http {{
  client_body_temp_path {state}/body;
  proxy_temp_path {state}/proxy;
  fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi;
  scgi_temp_path {state}/scgi;
  access_log {state}/access.log;
  server {{
    listen {address} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
{directives}
  }}
}}
"""


def nginx_command(
    state: Path, address: str, certificate: KeyPair, directives: str
) -> list[str | Path]:
    """Write the configuration of a server; gives the command that runs it in the foreground.

    Args:
        state: A folder for its own files, made if need be; ``access.log`` comes there.
        address: The address and port to listen at.
        certificate: Its certificate and key.
        directives: What it serves, as it stands in a block ``server``.
    """
    state.mkdir(parents=True, exist_ok=True)
    configuration = state / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            state=state,
            address=address,
            certificate=certificate.certificate,
            key=certificate.key,
            directives=directives,
        )
    )
    return ["nginx", "-p", state, "-c", configuration, "-e", "stderr"]
