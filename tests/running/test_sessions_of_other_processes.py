"""A Session that is sent to another process, as with the start method spawn, or copied."""

from __future__ import annotations

import copy
import pickle

import pytest

from bioclip_core.errors import UsageError
from bioclip_plugin import Session


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_that_is_sent_or_copied_says_what_to_send_instead(send: object) -> None:
    with (
        Session(model="demo") as session,
        pytest.raises(UsageError, match="send its request, and open a Session there"),
    ):
        send(session)  # type: ignore[operator]
