import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.batching import Shape, cut

GATES = ("logits", "input_gates")


def shapes(*lengths: int) -> list[Shape]:
    return [Shape(num_tokens=n, fetches=GATES) for n in lengths]


@pytest.mark.parametrize(
    ("lengths", "max_group_tokens", "expected"),
    [
        ((), 128, ()),
        ((8,), 128, (0,)),
        ((8, 8, 8), 128, (0, 1, 2)),
        ((8, 9, 8), 128, (0, 2)),
        ((64, 64, 64), 128, (0, 1)),
        ((512, 512), 128, (0,)),
        ((8, 8), 0, (0,)),
    ],
)
def test_cut(
    lengths: tuple[int, ...], max_group_tokens: int, expected: tuple[int, ...]
) -> None:
    assert cut(shapes(*lengths), max_group_tokens=max_group_tokens) == expected


def test_texts_with_other_outputs_do_not_share_a_run() -> None:
    waiting = [*shapes(8), Shape(num_tokens=8, fetches=("logits",))]
    assert cut(waiting, max_group_tokens=128) == (0,)


any_shape = st.builds(
    Shape,
    num_tokens=st.integers(1, 200),
    fetches=st.sampled_from([GATES, ("logits",)]),
)


@given(st.lists(any_shape, min_size=1), st.integers(0, 256))
def test_a_run_holds_equal_shapes_in_order_within_the_budget(
    waiting: list[Shape], max_group_tokens: int
) -> None:
    chosen = cut(waiting, max_group_tokens=max_group_tokens)
    total = sum(waiting[i].num_tokens for i in chosen)
    assert chosen[0] == 0
    assert list(chosen) == sorted(set(chosen))
    assert {waiting[i] for i in chosen} == {waiting[0]}
    assert len(chosen) == 1 or total <= max_group_tokens


@given(st.lists(any_shape))
def test_repeated_cuts_run_every_entry_once(waiting: list[Shape]) -> None:
    left = list(enumerate(waiting))
    ran: list[int] = []
    while left:
        chosen = cut([shape for _, shape in left], max_group_tokens=128)
        ran += [left[i][0] for i in chosen]
        left = [entry for i, entry in enumerate(left) if i not in chosen]
    assert sorted(ran) == list(range(len(waiting)))
