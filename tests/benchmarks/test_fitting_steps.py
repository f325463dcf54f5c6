"""Both loops that are compared do fit their probe."""

from benchmarks.fitting_steps import open_loops


def test_each_kind_has_two_loops_that_move_their_probes() -> None:
    kinds = []
    for loops in open_loops(None, num_texts=2, num_tokens=4, rounds=2):
        kinds.append(loops.kind)
        for step, probe in (
            (loops.ours, loops.our_probe),
            (loops.published, loops.published_probe),
        ):
            before = probe.bias.detach().clone()
            step()
            step()
            assert not probe.bias.equal(before)
    assert kinds == ["input", "hidden"]
