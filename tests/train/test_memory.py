from dataclasses import replace

from cases.training import DEPTH, small

from gatentk import train


def test_memory_grows_with_what_is_asked_for():
    config = small(width=2000, rates=(0.1,), dtype="float32")
    samples = train.prepare_training(config)
    least = train.training_memory(replace(config, model="relu"), samples)
    assert least > 3 * DEPTH * 2000**2 * 4
    more = [{}, {"optimizer": "adam", "model": "relu"}, {"diagnostics": ("gradient",), "model": "relu"}]
    assert all(train.training_memory(replace(config, **changes), samples) > least for changes in more)
