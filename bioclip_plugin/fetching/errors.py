"""Errors of fetching: one line each, with the reason as the host, the network or the disk gave it."""

from __future__ import annotations

from bioclip_core.errors import ImageError


class FetchError(ImageError):
    """An image that could not be fetched; never ends a run, and the same command tries again."""

    def __init__(self, reason: str, *, status: int | None = None, host: str = "", answered: int | None = None) -> None:
        super().__init__(reason, stage="fetch")
        self.answered = answered if status is None else status
        """HTTP status for the record: also of an answer whose body was cut or damaged, which ``status`` leaves out."""
        self.status = status
        """HTTP status of the last answer; None if there was none."""
        self.host = host
        """Host that was asked last, to which a redirect may have led; empty if none was."""


class AddressError(FetchError):
    """An address that is refused before anything is sent."""


class FolderError(FetchError):
    """An image that could not be kept: a full disk, a folder that may not be written."""


class TryFailed(Exception):
    """One request that did not give an image. Its text is the reason."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        again: bool = False,
        blames_host: bool = False,
        wait_s: float | None = None,
        pauses_host: bool = False,
        is_answer: bool = False,
    ) -> None:
        """Describe the failure.

        Args:
            reason: the reason, without the address.
            status: HTTP status, if there was an answer.
            again: another try may succeed.
            blames_host: it says something about the host, not about this one image.
            wait_s: seconds that the host asked to wait.
            pauses_host: the whole host is left alone until the next try.
            is_answer: the host answered for this one image, so that it is there.
        """
        super().__init__(reason)
        self.reason, self.status, self.again, self.blames_host = reason, status, again, blames_host
        self.answered: int | None = None
        """HTTP status of the answer, if one began."""
        self.wait_s, self.pauses_host, self.is_answer = wait_s, pauses_host, is_answer


class NotPublic(TryFailed):
    """A host in a private network, which is not asked."""

    def __init__(self, named: str, advice: str) -> None:
        """Describe the host.

        Args:
            named: the host with its IP address and a verb.
            advice: what allows it.
        """
        super().__init__(f"{named} not a public address{advice}")
        self.named = named
