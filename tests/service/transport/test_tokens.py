import logging
from pathlib import Path

import pytest

from diffmask_service.errors import StartError
from diffmask_service.transport.tokens import TokenFile

OLD, NEW = "old-token-0123456789", "new-token-9876543210"
SETTING = "--inference-token-file"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"{OLD}\n")
    return path


@pytest.fixture
def tokens(path: Path) -> TokenFile:
    return TokenFile(path, setting=SETTING)


@pytest.mark.parametrize(
    ("header", "is_admitted"),
    [
        (f"Bearer {OLD}", True),
        (f"bearer  {OLD} ", True),
        (OLD, False),
        (f"Basic {OLD}", False),
        (f"Bearer {OLD}x", False),
        (f"Bearer {OLD[:-1]}", False),
        ("Bearer ", False),
        ("Bearer \u00e9", False),
        ("", False),
    ],
)
def test_only_the_whole_token_is_admitted(
    tokens: TokenFile, header: str, is_admitted: bool
) -> None:
    assert tokens.admits(header) is is_admitted


def test_tokens_are_replaced_while_both_are_valid(
    tokens: TokenFile, path: Path
) -> None:
    path.write_text(f"{OLD}\n\n{NEW}\n")
    assert tokens.admits(f"Bearer {OLD}")
    assert tokens.admits(f"Bearer {NEW}")
    path.write_text(f"{NEW}\n")
    assert not tokens.admits(f"Bearer {OLD}")
    assert tokens.admits(f"Bearer {NEW}")


def test_a_link_that_moves_is_a_change(tmp_path: Path) -> None:
    # As platforms renew mounted secrets.
    for name, token in (("a", OLD), ("b", NEW)):
        (tmp_path / name).write_text(token)
    link = tmp_path / "tokens"
    link.symlink_to("a")
    tokens = TokenFile(link, setting=SETTING)
    (tmp_path / "next").symlink_to("b")
    (tmp_path / "next").replace(link)
    assert tokens.admits(f"Bearer {NEW}")
    assert not tokens.admits(f"Bearer {OLD}")


@pytest.mark.parametrize("content", [None, "", "short\n"])
def test_a_spoilt_file_keeps_the_old_tokens_and_says_so_once(
    tokens: TokenFile,
    path: Path,
    content: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert tokens.admits(f"Bearer {OLD}")
    assert tokens.admits(f"Bearer {OLD}")
    (record,) = caplog.records
    assert "keeping the old" in record.getMessage()
    assert "short" not in record.getMessage().replace("is no token", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no token"),
        (b"\n \n", "holds no token"),
        (f"{OLD}\nsecret\n".encode(), "line 2: is no token"),
        (b"two words and more\n", "line 1: is no token"),
        (b"\xffcret-0123456789\n", "more than ASCII"),
    ],
)
def test_a_bad_file_keeps_the_server_from_starting_and_is_not_quoted(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(content)
    with pytest.raises(StartError, match=message) as raised:
        TokenFile(path, setting=SETTING)
    assert f"{SETTING} {path}" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="absent: cannot be read"):
        TokenFile(tmp_path / "absent", setting=SETTING)
