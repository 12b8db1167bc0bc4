"""How far a run is."""

from gatentk.runs.progress import Progress


def test_work_is_a_share_of_that_of_all_parts():
    costs = {"a": 1.0, "b": 2.0, "c": 5.0}
    assert Progress.of(costs, ()) == Progress(parts=3, done=0, work=0.0, last=None)
    assert Progress.of(costs, {"a", "c"}, "c") == Progress(parts=3, done=2, work=0.75, last="c")
    assert Progress.of(costs, ["a", "b", "c", "of another run"], "b").work == 1
