"""The documentation agrees with the code: signatures, fields, commands, options, links, and code that is run."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pluggy
import pytest
from PIL import Image
from ready_processes import run_ready

import bioclip_plugin
from bioclip_plugin import ClassifyRequest, hookspecs
from bioclip_plugin.cli import command_line
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.testing import FakeModel

ROOT = Path(__file__).parents[1]
HOSTS = (ROOT / "docs" / "hosts.md").read_text("utf-8")
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text("utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def hooks() -> Iterator[tuple[str, Any]]:
    for name, value in vars(hookspecs).items():
        if hasattr(value, f"{hookspecs.PROJECT}_spec"):
            yield name, value


def code_blocks(page: Path, marker: str) -> list[str]:
    """Return the Python blocks under a comment that begins with ``marker``."""
    pattern = rf"<!-- {re.escape(marker)}[^>]*-->\n```python\n(.*?)```"
    return re.findall(pattern, page.read_text("utf-8"), flags=re.DOTALL)


def section(text: str, heading: str) -> str:
    """Return the text under a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    assert found, f"there is no heading: ## {heading}"
    return found[1]


@pytest.mark.parametrize(("name", "hook"), [pytest.param(name, hook, id=name) for name, hook in hooks()])
def test_each_hook_has_its_exact_signature_as_a_heading(name: str, hook: Any) -> None:
    signature = str(inspect.signature(hook)).replace("'", "")  # annotations as written in the source
    assert f"### `{name}{signature}`\n" in HOSTS


def test_no_hook_is_documented_that_does_not_exist() -> None:
    documented = re.findall(r"^### `(\w+)\(", HOSTS, flags=re.MULTILINE)
    assert sorted(documented) == sorted(name for name, _ in hooks())


def test_each_field_of_a_request_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section(HOSTS, "ClassifyRequest"), flags=re.MULTILINE))
    assert rows == {field.name: repr(field.default).replace("'", '"') for field in fields(ClassifyRequest)}


def test_each_public_name_is_explained_to_hosts() -> None:
    assert [name for name in bioclip_plugin.__all__ if not re.search(rf"\b{name}\b", HOSTS)] == []


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, including those of groups."""
    manager = create_plugin_manager(installed=False)
    cli = command_line(manager)
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {member}", command.commands[member]) for member in command.list_commands(context))
        else:
            yield name, command


def test_each_command_and_each_of_its_options_is_documented() -> None:
    missing = []
    for name, command in commands():
        text = section(COMMAND_LINE, f"bioclip-plugin {name}")
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        names = [max(option.opts, key=len) for option in options if not option.hidden]
        missing += [f"{name} {option}" for option in names if f"`{option}" not in text]
    assert missing == []


def test_no_command_is_documented_that_does_not_exist() -> None:
    documented = re.findall(r"^## bioclip-plugin (.+)$", COMMAND_LINE, flags=re.MULTILINE)
    assert sorted(documented) == sorted(name for name, _ in commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PROGRAMS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in (ROOT / "README.md", ROOT / "docs" / "hosts.md")
    for number, code in enumerate(code_blocks(page, "runs"), start=1)
]


def test_the_readme_and_the_page_for_hosts_have_programs_to_run() -> None:
    assert len(PROGRAMS) >= 4


@pytest.mark.parametrize("code", PROGRAMS)
def test_the_programs_in_the_docs_run_without_network(code: str, tmp_path: Path) -> None:
    Image.new("RGB", (320, 240), (90, 140, 60)).save(tmp_path / "photo.jpg")
    found = {"file": "photo.jpg", "detections": [{"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}]}
    about = {"info": {"format_version": "1.5"}, "detection_categories": {"1": "animal"}, "images": [found]}
    (tmp_path / "md.json").write_text(json.dumps(about))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HF_HUB_OFFLINE": "1",
        "BIOCLIP_CACHE": str(tmp_path / "cache"),
    }
    done = run_ready(code, cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    if "photo.jpg" in code:
        assert "photo.jpg" in done.stdout


def test_the_bridge_of_the_docs_answers_a_hosts_own_hook(tmp_path: Path) -> None:
    """The host, fieldcam, has its own manager, hook and marker, and runs the code of the page unchanged."""
    (code,) = code_blocks(ROOT / "docs" / "hosts.md", "bridge")
    names: dict[str, Any] = {}
    exec(code, names)

    fieldcam = pluggy.PluginManager("fieldcam")
    specification = pluggy.HookspecMarker("fieldcam")

    class Hooks:
        @specification(firstresult=True)
        def name_photos(self, photos: list[str]) -> list[str | None] | None: ...

    fieldcam.add_hookspecs(Hooks)
    bridge = names["BioclipBridge"](model="fake", labels=("a red fish", "a blue fish"))
    bridge.bioclip.register(FakeModel())
    fieldcam.register(bridge)
    fieldcam.check_pending()
    photo = tmp_path / "blue.png"
    Image.new("RGB", (16, 16), "blue").save(photo)
    assert fieldcam.hook.name_photos(photos=[str(photo), str(tmp_path / "missing.png")]) == ["a blue fish", None]


def test_the_documentation_site_builds_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config("mkdocs.yml", site_dir=str(tmp_path), strict=True))  # raises Abort after a warning
    reference = (tmp_path / "reference.html").read_text("utf-8")
    assert all(f'id="bioclip_plugin.hookspecs.{name}"' in reference for name, _ in hooks())
    assert 'href="command-line.html"' in (tmp_path / "index.html").read_text("utf-8")


def test_the_changelog_has_an_entry_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(rf"^## \[?{re.escape(bioclip_plugin.__version__)}\]? ", changelog, flags=re.MULTILINE)


def test_each_room_of_the_house_is_on_the_architecture_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    packages = [ROOT / "bioclip_plugin", ROOT / "core" / "bioclip_core", ROOT / "training" / "bioclip_training"]
    rooms = [
        f"{room.name}/" if room.is_dir() else room.name
        for package in packages
        for room in sorted(package.iterdir())
        if (room.suffix == ".py" or (room.is_dir() and any(room.iterdir()))) and not room.name.startswith("__")
    ]
    assert [room for room in rooms if f"`{room}" not in page and f" {room}" not in page] == []
