"""The plugin manager: installed plugins, skipped plugins, and refused ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pluggy
import pytest

from bioclip_plugin import create_plugin_manager
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

    def lay_down(name: str, code: str, *, distribution: str | None = None) -> None:
        distribution = distribution or f"bioclip-{name}"
        module = distribution.replace("-", "_")
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-2.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n")
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
        (
            "from bioclip_plugin import hookimpl\nclass P:\n    @hookimpl\n    def clasify_images(self): ...\nplugin = P()",
            "clasify_images",
        ),
        (
            "from bioclip_plugin import hookimpl\nclass P:\n    @hookimpl\n    def candidate_taxa(self, country): ...\nplugin = P()",
            "country",
        ),
    ],
    ids=["raises", "lacks-a-module", "lacks-the-object", "misspells-a-hook", "wrong-argument"],
)
def test_a_plugin_that_cannot_be_used_is_left_out_logged_and_listed(
    install: Install, caplog: pytest.LogCaptureFixture, code: str, reason: str
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


def test_one_name_cannot_be_registered_twice_by_hand() -> None:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel("one"), name="colours")
    with pytest.raises(ValueError, match="colours"):
        manager.register(FakeModel("two"), name="colours")


def test_a_misspelt_hook_is_found_by_check_pending() -> None:
    from bioclip_plugin import hookimpl

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
        "builtins": "register_commands, register_exporters, register_models, register_rules, register_sources, train_model",
        "media": "expand_media, media_suffixes, open_media",
        "host-hooks": "classify_images, embed_images",
    }
