"""Tokens that callers are known by: out of files, several valid at a time."""

import hashlib
import hmac
from pathlib import Path

from diffmask_service.errors import StartError
from diffmask_service.transport.watched_files import WatchedFiles

_MIN_CHARACTERS = 16
_SCHEME = "bearer "


class TokenFile:
    """The tokens of one group of callers, one a line; read again when it changes.

    To replace a token, add the new one, move the callers over, remove the old one. The
    tokens themselves are not kept, only their digests.

    Args:
        path: The file; empty lines are passed over.
        setting: Its flag, for error messages.

    Raises:
        StartError: It cannot be read, holds no token, or one that is too short.
    """

    def __init__(self, path: Path, *, setting: str) -> None:
        self._path = path
        self._setting = setting
        self._watched = WatchedFiles([path], self._parse)

    def admits(self, authorization: str) -> bool:
        """Return whether a header holds one of the tokens.

        Args:
            authorization: Value of the header, `Bearer` and the token.
        """
        if not authorization.lower().startswith(_SCHEME):
            return False
        digest = _digest(authorization[len(_SCHEME) :].strip())
        # All of them, each in constant time: how long it takes tells nothing.
        matches = [hmac.compare_digest(digest, each) for each in self._watched.value]
        return any(matches)

    def _parse(self) -> tuple[bytes, ...]:
        where = f"{self._setting} {self._path}"
        try:
            lines = self._path.read_text(encoding="ascii").splitlines()
        except OSError as error:
            raise StartError(f"{where}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError:
            # Not chained: the error holds the bytes of the file.
            raise StartError(f"{where}: holds more than ASCII characters") from None
        tokens = {number: line.strip() for number, line in enumerate(lines, start=1)}
        tokens = {number: token for number, token in tokens.items() if token}
        for number, token in tokens.items():
            if len(token) < _MIN_CHARACTERS or not token.isprintable() or " " in token:
                raise StartError(
                    f"{where}, line {number}: is no token; give at least"
                    f" {_MIN_CHARACTERS} characters without spaces"
                )
        if not tokens:
            raise StartError(f"{where}: holds no token; write one a line")
        return tuple(map(_digest, tokens.values()))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
