import pytest

from diffmask_service.errors import shown_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("block_1", "'block_1'"),
        ("org/model-v2.1:x", "'org/model-v2.1:x'"),
        ("a" * 64, repr("a" * 64)),
        ("a" * 65, "(a name of 65 characters)"),
        ("two words", "(a name of 9 characters)"),
        ("line\n", "(a name of 5 characters)"),
        ("", "(a name of 0 characters)"),
    ],
)
def test_only_what_looks_like_a_name_is_repeated(name: str, shown: str) -> None:
    assert shown_name(name) == shown
