"""Sphinx configuration."""

import filecmp
import os
import shutil
import typing
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

import genemamba_sc

# jaxtyping then shows a shape as it is written in the source: Float[Tensor, "b l d"].
typing.GENERATING_DOCUMENTATION = "jaxtyping"

project = "genemamba_sc"
author = "The genemamba_sc developers"
project_copyright = f"2026, {author}"
release = version = genemamba_sc.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "jupyter_execute", "**.ipynb_checkpoints"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Notebooks are executed when they are written, on real data that a documentation server does not have.
nb_execution_mode = "off"

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # sphinx_autodoc_typehints writes them, beside each parameter
napoleon_google_docstring = False
napoleon_use_rtype = True
always_use_bars_union = True
typehints_defaults = "braces"

# Without a network the links to other projects' pages are left out: DOCS_OFFLINE=1 sphinx-build ...
intersphinx_mapping = (
    {}
    if os.environ.get("DOCS_OFFLINE")
    else {
        "anndata": ("https://anndata.scverse.org/en/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "python": ("https://docs.python.org/3", None),
        "scanpy": ("https://scanpy.scverse.org/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "scvi": ("https://docs.scvi-tools.org/en/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }
)

html_theme = "sphinx_book_theme"
html_title = "genemamba_sc"
html_static_path = ["_static"]
html_css_files = ["site.css"]
toc_object_entries_show_parents = "hide"  # the side bar is too narrow for GeneMambaModel.get_latent_representation()
html_theme_options = {"show_toc_level": 2, "use_download_button": False, "use_fullscreen_button": False}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def copy_tutorials(app: Sphinx, config: Config) -> None:
    """Bring the notebooks of the repository among the sources; a copy that is the same is left alone."""
    notebooks = {path.name: path for path in (Path(app.confdir).parent / "tutorials").glob("*.ipynb")}
    folder = Path(app.srcdir, "tutorials")
    for copy in folder.glob("*.ipynb"):
        if copy.name not in notebooks:
            copy.unlink()
    for name, path in notebooks.items():
        copy = folder / name
        if not copy.exists() or not filecmp.cmp(path, copy, shallow=False):
            shutil.copyfile(path, copy)


def setup(app: Sphinx) -> None:
    app.connect("config-inited", copy_tutorials)
