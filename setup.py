"""The two steps that pyproject.toml cannot state: README.md as an index shows it, and a build without files of an earlier one."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build import build

README = Path(__file__).with_name("README.md")
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_RELATIVE_LINK = re.compile(r"!?\[([^\]]*)\]\((?!#|[a-z][a-z0-9+.-]*:)[^)]*\)")


def page_of_the_index(readme: str) -> str:
    """Return the README without links to files of the repository, which lead nowhere on a package index."""
    return _RELATIVE_LINK.sub(r"\1", _COMMENT.sub("", readme))


class FreshBuild(build):
    """A build that does not take modules from an earlier version in ``build/lib``, as setuptools does."""

    def run(self) -> None:
        """Remove what an earlier build left, then build."""
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(
    long_description=page_of_the_index(README.read_text("utf-8")),
    long_description_content_type="text/markdown",
    cmdclass={"build": FreshBuild},
)
