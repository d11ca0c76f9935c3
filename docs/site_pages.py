"""MkDocs hook: show the pages of the repository's root and of benchmarks/ in the site, with their links rewritten."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "licence.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/RESULTS.md": "benchmark-results.md",
    "benchmarks/RESULTS-CURATION.md": "curation-results.md",
    "benchmarks/SCALING.md": "scaling-study.md",
    "benchmarks/LOG.md": "benchmark-log.md",
}
"""Where each page outside docs/ appears in the site."""

PICTURES = {"benchmarks/scaling.svg": "scaling.svg"}
"""Where pictures of those pages appear."""

_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of PAGES and their PICTURES to the site."""
    for source, target in PAGES.items():
        text = (ROOT / source).read_text("utf-8")
        if source == "LICENSE":
            text = f"# Licence\n\n```text\n{text}```\n"
        files.append(File.generated(config, target, content=rewritten(text, source)))
    for source, target in PICTURES.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page in docs/ that lead out of it."""
    if page.file.src_uri in PAGES.values():
        return markdown
    return rewritten(markdown, f"docs/{page.file.src_uri}")


def rewritten(text: str, source: str) -> str:
    """Return the page ``source`` (relative to the repository) with links to other pages as the site has them."""

    def link(found: re.Match[str]) -> str:
        text, path = found[1], normpath(str(PurePosixPath(source).parent / found[2]))
        if (ROOT / path).is_dir():  # example packages are read in the repository, not in the site
            return text
        return f"[{text}]({PAGES.get(path) or PICTURES.get(path) or path.removeprefix('docs/')}{found[3] or ''})"

    return _LINK.sub(link, text)
