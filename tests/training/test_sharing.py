import pytest
import torch

from diffmask_training.sharing import Processes, Sharing


@pytest.mark.parametrize("num_parts", [1, 2, 3])
@pytest.mark.parametrize("num_processes", [1, 2, 5])
@pytest.mark.parametrize("num_texts", [1, 7, 16])
def test_every_text_is_run_once(
    num_parts: int, num_processes: int, num_texts: int
) -> None:
    run = [
        text
        for part in range(num_parts)
        for index in range(num_processes)
        for text in Sharing(
            num_parts=num_parts, num_processes=num_processes, process_index=index
        )
        .texts(num_texts, part)
        .tolist()
    ]
    assert sorted(run) == list(range(num_texts))


def test_rows_lead_from_a_states_texts_to_own_ones_and_back() -> None:
    dealt = torch.randperm(16, generator=torch.Generator().manual_seed(0))[:11]
    found = torch.full((11,), -1)
    for part in range(2):
        seen: dict[int, int] = {}
        counts: set[int] = set()
        for index in range(3):
            sharing = Sharing(num_parts=2, num_processes=3, process_index=index)
            own = sharing.texts(16, part)
            rows = sharing.rows(dealt, part)
            # A row's noise is that of the very text.
            assert torch.equal(own[rows.texts], dealt[rows.noise])
            found[rows.noise] = part
            places = rows.places.tolist()
            seen |= dict(zip(places, rows.noise.tolist(), strict=True))
            counts.add(rows.count)
        # Over all processes a part's places are filled, in the order of the rows.
        assert counts == {len(seen)}
        assert sorted(seen) == list(range(len(seen)))
        assert [seen[place] for place in sorted(seen)] == sorted(seen.values())
    assert bool((found >= 0).all())


def test_lone_process_keeps_figures_as_they_are() -> None:
    processes = Processes()
    values = torch.rand(5, 3)
    assert processes.exchange(values, torch.arange(3), 3) is values
    assert processes.made_by_main(lambda: 7) == 7
    assert processes.is_main
