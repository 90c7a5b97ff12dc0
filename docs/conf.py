"""The documents as a site: tox -e docs. They stay where they are, readable in the repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))
from ckf_airgap import __version__

project = "ckf-airgap"
copyright = "the authors of ckf-airgap"  # noqa: A001 (Sphinx calls it so)
release = __version__
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "terraform/README.md",
    "benchmarks/README.md",
    "testbed/README.md",
]
# Links between documents lead to headings, with the anchors of the repository's page.
myst_heading_anchors = 4
nitpicky = True
html_theme = "furo"
html_title = f"ckf-airgap {release}"
html_static_path: list[str] = []
html_copy_source = False
html_logo = "../icon.svg"
templates_path = ["_templates"]
# The site begins where its documents do.
html_additional_pages = {"index": "index.html"}
