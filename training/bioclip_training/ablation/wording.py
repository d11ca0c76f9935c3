"""Messages of the training in the words of an ablation, in which its options are settings of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from bioclip_core.errors import BioclipError
from bioclip_training.ablation.configuration import SETTINGS

_OPTION = re.compile(r"--([a-z][a-z-]*)")
_OF_THE_DOCUMENT = {"data": "data", "start": "start", "output": "output", "seed": "seeds"}


def in_configuration(text: str) -> str:
    """Return a message with settings of the configuration in place of the options of ``train``, which ``ablate`` lacks.

    >>> in_configuration("a lower --learning-rate (now 1); --dev-fraction 0.2 holds out more")
    'a lower train.learning_rate (now 1); train.dev_fraction 0.2 holds out more'
    """
    return _OPTION.sub(_setting, text)


@contextmanager
def errors_in_configuration() -> Iterator[None]:
    """Put the messages of errors that are raised within into the words of the configuration."""
    try:
        yield
    except BioclipError as error:
        error.args = (in_configuration(str(error)), *error.args[1:])
        raise


def _setting(option: re.Match[str]) -> str:
    name = option[1].replace("-", "_")
    return _OF_THE_DOCUMENT.get(name) or (f"train.{name}" if name in SETTINGS else option[0])
