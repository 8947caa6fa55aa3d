"""Sphinx's settings for the site, which `make docs` builds from what collect.py puts together."""

project = "retinal_lib"
author = copyright = "the retinal_lib authors"
extensions = ["myst_nb"]
html_theme = "furo"
html_title = "retinal_lib"
nb_execution_mode = "off"  # the notebooks are shown as they were executed last
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "misc.highlighting_failure"]  # a docstring or notebook may begin with a smaller heading
html_static_path = ["static"]
html_css_files = ["site.css"]
