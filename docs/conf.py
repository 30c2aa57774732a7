"""The documentation site: `make docs` builds it into docs/_build/html."""

from __future__ import annotations

from importlib.metadata import version as installed

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "lvlm-saliency"
author = "the lvlm-saliency contributors"
copyright = "the lvlm-saliency contributors, Apache-2.0"
release = version = installed("lvlm-saliency")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["_build", "studies/*/preset.yaml"]

# Tutorials are notebooks in Markdown: executed at every build, and a cell that fails stops the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4

# Docstrings: Google sections; single backticks are code, as everywhere in the project.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": False}

html_theme = "pydata_sphinx_theme"
html_math_renderer = "mathml"
highlight_language = "text"
html_title = "lvlm-saliency"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {"index": [], "install": [], "method": []}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}


def plain_bars(_app: object, _what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Bars of absolute values are no substitutions of reStructuredText."""
    for number, line in enumerate(lines):
        parts = line.split("`")  # every second part stands between backticks
        lines[number] = "`".join(part if at % 2 else part.replace("|", r"\|") for at, part in enumerate(parts))


def inline_mathml(self: HTML5Translator, node: nodes.math) -> None:
    """An equation within a line, as MathML: no script, and nothing is fetched when the page is read."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_mathml(self: HTML5Translator, node: nodes.math_block) -> None:
    """An equation on lines of its own."""
    self.body.append(f'<div class="math">{tex2mathml(node.astext().strip(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline_mathml, None), (block_mathml, None))
    app.connect("autodoc-process-docstring", plain_bars, priority=400)  # before Google sections are read
