"""The site has the layout of the repository, so that a relative link works in both; README.md is its first page."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "results/reference/**/*.md"),
    *("docs/*.png", "docs/*.json", "docs/*.txt", "results/reference/**/*.png", "results/reference/**/*.svg"),
    *("config.yaml", "claims.yaml", "CITATION.cff", "examples/**/*"),
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """What the site is made of: the theme's own files and, at their places, those of the repository that it shows."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted({path for pattern in SHOWN for path in ROOT.glob(pattern) if path.is_file()})
    shown = [File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)) for path in paths]
    return Files([*theme, *shown])
