"""Plugins that break their contracts, and the house in which they are tried: a model of colours, two photos, a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bioclip_plugin import ClassifyRequest, cli, create_plugin_manager, hookimpl
from bioclip_plugin.plugin_api import Answer, BioclipPluginManager, Rule
from bioclip_plugin.testing import FakeModel

RED, BLUE = "red.png", "blue.png"
STRIP = "film.strip"
"""A file that only a plugin opens."""
COMMON = ("--model", "fake", "--labels", "fish.txt", "--store", "r.db")


class OwnError(BaseException):
    """An error that is not an Exception."""


class MuteError(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raises(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises an error, whatever it is called with."""

    def fail(*_given: Any, **_named: Any) -> Any:
        raise error

    return fail


def gives(value: Any) -> Callable[..., Any]:
    """Return a function that returns a value, whatever it is called with."""
    return lambda *_given, **_named: value


class Broken:
    """A plugin made of functions, one per hook, that are called with the arguments of the hook in their order."""

    def __new__(cls, **hooks: Callable[..., Any]) -> Any:
        methods: dict[str, Any] = {}
        for name, function in hooks.items():
            names = ARGUMENTS[name]
            scope: dict[str, Any] = {"function": function}
            exec(f"def {name}(self{', ' if names else ''}{names}): return function({names})", scope)
            methods[name] = hookimpl(scope[name])
        return type("Broken", (), methods)()


ARGUMENTS = {
    "classify_images": "items, request",
    "embed_images": "items, request",
    "train_model": "config",
    "plan_training": "config",
    "register_models": "register",
    "register_sources": "register",
    "register_exporters": "register",
    "register_rules": "register",
    "register_detectors": "register",
    "register_engines": "register",
    "register_content_filters": "register",
    "register_commands": "cli",
    "media_suffixes": "",
    "expand_media": "item, options",
    "open_media": "item",
    "candidate_taxa": "place, labels",
    "answers_stored": "run, answers",
}


class House:
    """A manager with the model of colours, in a folder with two photos, a file for plugins, and a file of labels."""

    def __init__(self) -> None:
        self.manager: BioclipPluginManager = create_plugin_manager(installed=False)
        self.manager.register(FakeModel())
        for name, colour in ((RED, (255, 0, 0)), (BLUE, (0, 0, 255))):
            Image.new("RGB", (16, 16), colour).save(name)
        Path(STRIP).write_text("a strip", "utf-8")
        Path("fish.txt").write_text("a red fish\na blue fish\n", "utf-8")
        Path("catalog.csv").write_text("image\n", "utf-8")

    def register(self, **hooks: Callable[..., Any]) -> None:
        """Register a plugin of these hooks under the name ``broken``."""
        self.manager.register(Broken(**hooks), name="broken")

    def register_another(self, **hooks: Callable[..., Any]) -> None:
        """Register these hooks under the same name, in place of the earlier ones."""
        self.manager.unregister(name="broken")
        self.register(**hooks)

    def refused(self, **hooks: Callable[..., Any]) -> str:
        """Return the reason for which a plugin of these hooks is not registered."""
        from bioclip_core.errors import PluginError

        with pytest.raises(PluginError) as caught:
            self.register(**hooks)
        assert not self.manager.has_plugin("broken")
        assert caught.value.plugin_name == "broken"
        return str(caught.value)

    def request(self, **options: Any) -> ClassifyRequest:
        # One thread reads the items in their order, so that the rows of a batch are in this order.
        return ClassifyRequest(**{"model": "fake", "labels": "fish.txt", "workers": 1, **options})

    def answers(self, *items: Any, **options: Any) -> list[str]:
        """Return name or failure of each item as a host gets them from the hook."""
        found: list[Answer] = self.manager.hook.classify_images(items=list(items), request=self.request(**options))
        return [
            f"{answer.failure.stage}: {answer.failure.reason}"
            if answer.failure
            else answer.best.name
            if answer.best
            else ""
            for answer in found
        ]

    def run(self, capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
        """Return exit code and output of a command, as a user sees them."""
        capsys.readouterr()
        code = cli.run(command, self.manager)
        shown = capsys.readouterr()
        return code, shown.out + shown.err


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.chdir(tmp_path)
    return House()


def one_rule(**members: Any) -> Callable[..., Any]:
    """Return a ``register_rules`` with one rule called ``picky``."""
    kind = type("Picky", (Rule,), {"name": "picky", "description": "It is.", **members})
    return lambda register: register(kind)


def one_of(**members: Any) -> Callable[..., Any]:
    """Return a registering hook with one object of these members."""
    return lambda register: register(type("Thing", (), members)())
