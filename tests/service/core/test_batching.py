import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.batching import (
    BatchPolicy,
    PaddedBatches,
    Shape,
    UnpaddedBatches,
    bucket_tokens,
)

GATES = ("logits", "input_gates")


def unpadded(max_group_tokens: int) -> UnpaddedBatches:
    return UnpaddedBatches(max_group_tokens=max_group_tokens)


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
def test_unpadded_runs_hold_equal_lengths(
    lengths: tuple[int, ...], max_group_tokens: int, expected: tuple[int, ...]
) -> None:
    assert unpadded(max_group_tokens).cut(shapes(*lengths)) == expected


def test_texts_with_other_outputs_do_not_share_a_run() -> None:
    waiting = [*shapes(8), Shape(num_tokens=8, fetches=("logits",))]
    assert unpadded(128).cut(waiting) == (0,)
    assert PaddedBatches(max_batch_tokens=128).cut(waiting) == (0,)


any_shape = st.builds(
    Shape,
    num_tokens=st.integers(1, 200),
    fetches=st.sampled_from([GATES, ("logits",)]),
)


@given(st.lists(any_shape, min_size=1), st.integers(0, 256))
def test_a_run_holds_equal_shapes_in_order_within_the_budget(
    waiting: list[Shape], max_group_tokens: int
) -> None:
    chosen = unpadded(max_group_tokens).cut(waiting)
    total = sum(waiting[i].num_tokens for i in chosen)
    assert chosen[0] == 0
    assert list(chosen) == sorted(set(chosen))
    assert {waiting[i] for i in chosen} == {waiting[0]}
    assert len(chosen) == 1 or total <= max_group_tokens


@pytest.mark.parametrize(
    ("lengths", "max_batch_tokens", "expected"),
    [
        ((), 64, ()),
        ((512,), 64, (0,)),
        ((8, 5, 9, 1), 64, (0, 1, 3)),
        ((16, 9, 9, 9, 9), 64, (0, 1, 2, 3)),
        ((33, 40, 41, 34), 1000, (0, 1, 3)),
        # The third would lift the padding of the first two over the budget.
        ((9, 9, 16, 9), 32, (0, 1)),
    ],
)
def test_padded_runs_hold_one_bucket_of_lengths(
    lengths: tuple[int, ...], max_batch_tokens: int, expected: tuple[int, ...]
) -> None:
    policy = PaddedBatches(max_batch_tokens=max_batch_tokens)
    assert policy.cut(shapes(*lengths)) == expected


@pytest.mark.parametrize(
    ("num_tokens", "bucket"),
    [
        (1, 8),
        (8, 8),
        (9, 16),
        (32, 32),
        (33, 40),
        (64, 64),
        (65, 80),
        (128, 128),
        (129, 160),
        (512, 512),
        (513, 640),
    ],
)
def test_buckets(num_tokens: int, bucket: int) -> None:
    assert bucket_tokens(num_tokens) == bucket


@given(st.integers(1, 10_000))
def test_a_bucket_covers_its_texts_and_wastes_less_than_a_quarter(
    num_tokens: int,
) -> None:
    bucket = bucket_tokens(num_tokens)
    assert num_tokens <= bucket
    assert bucket_tokens(bucket) == bucket
    assert bucket - num_tokens < max(8, num_tokens / 4)


@given(st.lists(any_shape, min_size=1), st.integers(1, 2000))
def test_a_padded_run_stays_within_its_budget_and_bucket(
    waiting: list[Shape], max_batch_tokens: int
) -> None:
    chosen = PaddedBatches(max_batch_tokens=max_batch_tokens).cut(waiting)
    lengths = [waiting[i].num_tokens for i in chosen]
    padded = len(lengths) * max(lengths)
    assert chosen[0] == 0
    assert list(chosen) == sorted(set(chosen))
    assert {waiting[i].fetches for i in chosen} == {waiting[0].fetches}
    assert len(chosen) == 1 or padded <= max_batch_tokens
    assert all(max(lengths) - n < max(8, n / 4) for n in lengths)


@given(st.lists(any_shape, min_size=1), st.integers(1, 2000))
def test_nobody_is_passed_over_by_a_later_text_of_the_same_shape(
    waiting: list[Shape], max_batch_tokens: int
) -> None:
    for policy in (unpadded(128), PaddedBatches(max_batch_tokens=max_batch_tokens)):
        chosen = policy.cut(waiting)
        left = [i for i in range(len(waiting)) if i not in chosen]
        for i in left:
            assert not [j for j in chosen if j > i and waiting[j] == waiting[i]]


@pytest.mark.parametrize(
    "policy",
    [UnpaddedBatches(max_group_tokens=128), PaddedBatches(max_batch_tokens=99)],
)
@given(waiting=st.lists(any_shape))
def test_repeated_cuts_run_every_entry_once(
    policy: BatchPolicy, waiting: list[Shape]
) -> None:
    left = list(enumerate(waiting))
    ran: list[int] = []
    while left:
        chosen = policy.cut([shape for _, shape in left])
        ran += [left[i][0] for i in chosen]
        left = [entry for i, entry in enumerate(left) if i not in chosen]
    assert sorted(ran) == list(range(len(waiting)))
