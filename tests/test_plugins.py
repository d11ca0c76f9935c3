"""The plugin manager: installed plugins, skipped plugins, and refused ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pluggy
import pytest

from bioclip_core.errors import PluginError
from bioclip_plugin import cli, create_plugin_manager, hookimpl
from bioclip_plugin.builtins import NAMES
from bioclip_plugin.testing import FakeModel

GOOD = """
from bioclip_plugin.testing import FakeModel
plugin = FakeModel("{name}")
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Function that installs a package as pip does: a module, and a dist-info folder with its entry point."""
    monkeypatch.syspath_prepend(tmp_path)
    modules: list[str] = []

    def lay_down(name: str, code: str, *, distribution: str | None = None, metadata: str | None = None) -> None:
        distribution = distribution or f"bioclip-{name}"
        module = distribution.replace("-", "_")
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-2.1.dist-info"
        info.mkdir()
        usual = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n"
        (info / "METADATA").write_text(usual if metadata is None else metadata)
        (info / "entry_points.txt").write_text(f"[bioclip]\n{name} = {module}:plugin\n")

    yield lay_down
    for module in modules:  # so that another test's package of this name is imported again
        sys.modules.pop(module, None)


def test_an_installed_plugin_is_found_and_described(install: Install) -> None:
    install("colours", GOOD.format(name="installed-fake"))
    manager = create_plugin_manager()
    assert "installed-fake" in manager.models()
    row = next(row for row in manager.described() if row["name"] == "colours")
    assert row == {"name": "colours", "distribution": "bioclip-colours 2.1", "hooks": "register_models"}
    assert "installed-fake" not in create_plugin_manager(installed=False).models()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no licence key')", "RuntimeError: no licence key"),
        ("import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
        ("something_else = 1", "has no attribute 'plugin'"),
        ("raise SystemExit(3)", "importing it failed: SystemExit: 3"),
        ("raise KeyError('a\\nb')", "importing it failed: KeyError: 'a\\nb'"),
        ("class Own(BaseException): ...\nraise Own", "importing it failed: Own"),
        ("plugin = None", "bioclip_broken:plugin is None; a plugin is needed"),
        (
            "from bioclip_plugin import hookimpl\nclass P:\n    @hookimpl\n    def clasify_images(self): ...\nplugin = P()",
            "clasify_images",
        ),
        (
            "from bioclip_plugin import hookimpl\nclass P:\n    @hookimpl\n    def register_models(self, register): 1 / 0\n"
            "    @hookimpl\n    def open_media(self, item): ...\nplugin = P()",
            "register_models failed: ZeroDivisionError: division by zero",
        ),
        (
            "from bioclip_plugin.testing import FakeModel\nplugin = FakeModel('demo')",
            "the model 'demo' is registered already, by a built-in; names must differ",
        ),
        (
            "class P:\n    def __eq__(self, other): raise RuntimeError('no')\n    __hash__ = None\nplugin = P()",
            "comparing it with another plugin failed: RuntimeError: no",
        ),
        (
            "from bioclip_plugin import hookimpl\nclass P:\n    @hookimpl\n    def candidate_taxa(self, country): ...\nplugin = P()",
            "country",
        ),
    ],
    ids=[
        "raises",
        "lacks-a-module",
        "lacks-the-object",
        "exits",
        "has-many-lines",
        "own-error",
        "none",
        "misspells-a-hook",
        "fails-to-register",
        "takes-a-name",
        "cannot-be-compared",
        "wrong-argument",
    ],
)
def test_a_plugin_that_cannot_be_used_is_left_out_logged_and_listed(
    install: Install,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    code: str,
    reason: str,
) -> None:
    install("broken", code)
    install("colours", GOOD.format(name="installed-fake"))
    manager = create_plugin_manager()
    (failure,) = manager.failures
    assert (failure.name, failure.distribution) == ("broken", "bioclip-broken 2.1")
    assert reason in failure.reason
    assert "plugin broken (bioclip-broken 2.1) was skipped" in caplog.text
    assert not manager.has_plugin("broken")
    assert "installed-fake" in manager.models()  # the others still work
    assert [one.plugin_name for one in manager.hook.open_media.get_hookimpls()] == ["media"]
    assert cli.run(["plugins"], manager) == 0
    assert f"Skipped: broken (bioclip-broken 2.1): {failure.reason}" in capsys.readouterr().out
    assert cli.run(["--help"], manager) == 0
    assert cli.run(["models", "list"], manager) == 0
    assert capsys.readouterr().err == "Skipped plugins: broken; see: bioclip-plugin plugins\n"


def test_of_two_installed_plugins_of_one_name_the_later_distribution_is_left_out(install: Install) -> None:
    install("colours", GOOD.format(name="two"), distribution="paint-box")
    install("colours", GOOD.format(name="one"))
    manager = create_plugin_manager()
    (failure,) = manager.failures
    assert (failure.name, failure.distribution) == ("colours", "paint-box 2.1")
    assert failure.reason == (
        "a plugin of this name is registered already, by bioclip-colours 2.1; uninstall one of them"
    )
    assert "one" in manager.models()
    assert "two" not in manager.models()


@pytest.mark.parametrize(
    ("metadata", "entry_points"),
    [("", None), ("Metadata-Version: 2.1\nVersion: 1\n", None), (None, b"[bioclip]\nbroken = \xff\xfe:plugin\n")],
    ids=["empty", "no-name", "entry-points-are-not-text"],
)
def test_a_distribution_with_broken_metadata_is_left_out_and_the_others_work(
    install: Install, tmp_path: Path, metadata: str | None, entry_points: bytes | None
) -> None:
    install("colours", GOOD.format(name="installed-fake"))
    install("broken", GOOD.format(name="never"), metadata=metadata)
    if entry_points is not None:
        (tmp_path / "bioclip_broken-2.1.dist-info" / "entry_points.txt").write_bytes(entry_points)
    manager = create_plugin_manager()
    (failure,) = manager.failures
    assert failure.name == "bioclip_broken-2.1"
    assert "cannot be read" in failure.reason
    assert "installed-fake" in manager.models()
    assert "never" not in manager.models()


def test_a_broken_distribution_without_a_plugin_is_not_ours_to_report(install: Install, tmp_path: Path) -> None:
    install("other", "plugin = 1", metadata="")
    (tmp_path / "bioclip_other-2.1.dist-info" / "entry_points.txt").write_text("[console_scripts]\nx = y:z\n")
    assert create_plugin_manager().failures == []


def test_a_distribution_that_is_found_twice_is_one_plugin(install: Install, tmp_path: Path) -> None:
    install("colours", GOOD.format(name="installed-fake"))
    shutil.copytree(tmp_path / "bioclip_colours-2.1.dist-info", tmp_path / "Bioclip.Colours-2.0.dist-info")
    manager = create_plugin_manager()
    assert manager.failures == []
    assert "installed-fake" in manager.models()


def test_a_plugin_that_fails_only_later_is_left_out_then(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []

    class Flaky:
        @hookimpl
        def register_models(self, register: Callable[[Any], None]) -> None:
            calls.append(1)
            if len(calls) > 1:
                raise RuntimeError("the second time")

        @hookimpl
        def media_suffixes(self) -> list[str]:
            return [".flaky"]

    manager = create_plugin_manager(installed=False)
    manager.register(Flaky(), name="flaky")
    assert ".flaky" in manager.media_suffixes()
    assert cli.run(["models", "list"], manager) == 0
    assert capsys.readouterr().err == "Skipped plugins: flaky; see: bioclip-plugin plugins\n"
    assert ".flaky" not in manager.media_suffixes()
    (failure,) = manager.failures
    assert failure.reason == "register_models failed: RuntimeError: the second time"


def test_a_plugin_without_a_name_is_called_like_its_class(install: Install) -> None:
    manager = create_plugin_manager(installed=False)
    assert [manager.register(FakeModel("one")), manager.register(FakeModel("two"))] == ["FakeModel", "FakeModel-2"]


def test_one_name_cannot_be_registered_twice_by_hand() -> None:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel("one"), name="colours")
    with pytest.raises(ValueError, match="colours"):
        manager.register(FakeModel("two"), name="colours")


@pytest.mark.parametrize("name", ["builtins", "media", "", " ", "a\nb", 5])
def test_a_name_of_a_built_in_and_one_that_is_not_a_text_are_refused(name: Any) -> None:
    manager = create_plugin_manager(installed=False)
    if name == "":
        assert manager.register(FakeModel("one"), name=name) == "FakeModel"  # as pluggy has it
        return
    with pytest.raises(PluginError) as caught:
        manager.register(FakeModel("one"), name=name)
    assert "\n" not in str(caught.value)
    assert {"builtins", "media", "host-hooks"} == {row["name"] for row in manager.described()}


def test_a_misspelt_hook_is_found_by_check_pending() -> None:
    class Misspelt:
        @hookimpl
        def register_model(self, register: Callable[[Any], None]) -> None: ...

    manager = create_plugin_manager(installed=False)
    manager.register(Misspelt())
    with pytest.raises(pluggy.PluginValidationError, match="register_model"):
        manager.check_pending()


def test_a_plugin_marked_for_another_project_is_ignored() -> None:
    foreign = pluggy.HookimplMarker("fieldcam")

    class Foreign:
        @foreign
        def register_models(self, register: Callable[[Any], None]) -> None:
            raise AssertionError("a hook of another project was called")

    manager = create_plugin_manager(installed=False)
    manager.register(Foreign(), name="foreign")
    manager.check_pending()
    assert "demo" in manager.models()
    row = next(row for row in manager.described() if row["name"] == "foreign")
    assert row["hooks"] == ""


def test_the_built_ins_are_one_plugin_among_others_through_the_public_hooks() -> None:
    manager = create_plugin_manager(installed=False)
    hooks = {row["name"]: row["hooks"] for row in manager.described()}
    assert hooks == {
        "builtins": "plan_training, register_commands, register_content_filters, register_detectors, register_engines, "
        "register_exporters, register_models, register_rules, register_sources, train_model",
        "media": "expand_media, media_suffixes, open_media",
        "host-hooks": "classify_images, embed_images",
    }


def test_the_reserved_names_are_those_that_the_built_ins_register() -> None:
    manager = create_plugin_manager(installed=False)
    assert set(NAMES["model"]) == set(manager.models())
    assert set(NAMES["format"]) == set(manager.exporters())
    assert set(NAMES["rule"]) == set(manager.rules())
    assert set(NAMES["detector"]) == set(manager.detectors())
    assert set(NAMES["engine"]) == set(manager.engines())
    assert set(NAMES["content filter"]) == set(manager.content_filters())
    assert set(NAMES["source"]) == {source.name for source in manager.sources()}
    assert set(NAMES["command"]) == set(cli.command_line(manager).commands)


def test_checking_a_plugin_imports_nothing_heavy(install: Install) -> None:
    code = """
from dataclasses import dataclass
from bioclip_plugin import hookimpl
class P:
    @hookimpl
    def register_rules(self, register):
        from bioclip_plugin.contracts.rule import Rule
        register(type("Picky", (Rule,), {"name": "picky"}))
    @hookimpl
    def register_models(self, register):
        from bioclip_core.models import ModelEntry
        register(ModelEntry("mine", "somewhere"))
    @hookimpl
    def register_commands(self, cli):
        cli.add_lazy("greet", "nowhere:x", "Say something.")
plugin = P()
"""
    install("light", code)
    program = (
        "import sys\nfrom bioclip_plugin.cli import run\nassert run(['--help']) == 0\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "greet" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
