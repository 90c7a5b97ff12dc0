"""The content of a release as one HTML page, to browse and search without a network."""

import base64
import hashlib
from importlib.resources import files

import jinja2

import ckf_airgap
from ckf_airgap.release_report.release_content import ReleaseContent
from ckf_airgap.release_report.tables import Table, texts_of


def as_page(content: ReleaseContent, tables: tuple[Table, ...]) -> str:
    """Write a release as an HTML page.

    The page's policy (Content Security Policy Level 3) allows only its own script, by digest, and
    no requests.

    Args:
        content: The release.
        tables: Its tables.

    Returns:
        The page.
    """
    folder = files("ckf_airgap.release_report")
    script = folder.joinpath("page.js").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(folder.joinpath("page.html.j2").read_text("utf-8"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(
        content=content,
        tables=tables,
        texts_of=texts_of,
        script=script,
        script_digest=digest,
        style=folder.joinpath("page.css").read_text("utf-8"),
        version=ckf_airgap.__version__,
    )
