"""How Sphinx builds the documentation."""

import tomllib
from pathlib import Path

pyproject = Path(__file__).parent.parent / "pyproject.toml"
metadata = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]

project = metadata["name"]
author = "django-signal-kit contributors"
copyright = f"2026, {author}"
release = version = metadata["version"]

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
nitpicky = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = project
