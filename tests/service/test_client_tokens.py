"""To whom a client shows its token in plain text: to nobody but this machine."""

import pytest

from diffmask_service.client import Client
from diffmask_service.errors import InvalidInput

TOKEN = "token-0123456789-0123456789"


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:8081",
        "127.8.9.10:8081",
        "localhost:8081",
        "[::1]:8081",
        "ipv4:127.0.0.1:8081",
        "unix:/run/server.sock",
    ],
)
def test_a_token_goes_to_this_machine_without_a_word(target: str) -> None:
    Client(target, token=TOKEN).close()


@pytest.mark.parametrize(
    "target",
    [
        "10.0.0.1:8081",
        "server:8081",
        # Names, however they begin.
        "127.example.com:8081",
        "127.0.0.1.example.com:8081",
        "localhost.example.com:8081",
        # The second address is another machine's.
        "ipv4:127.0.0.1:8081,10.0.0.1:8081",
    ],
)
def test_a_token_leaves_this_machine_only_encrypted_or_by_consent(target: str) -> None:
    with pytest.raises(InvalidInput, match="plain text"):
        Client(target, token=TOKEN)
    Client(target, token=TOKEN, insecure=True).close()
