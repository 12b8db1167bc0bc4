"""What is assumed of cuBLAS, beside what an H100 took."""

import pytest
from sass.devices import A100, DEVICES, H100, START

# Microseconds that docs/cuda.md's ratios and times of masked products give for cuBLAS on an H100.
MEASURED = [
    (512, 3072, "bf16", 20.5),
    (512, 4096, "bf16", 31.5),
    (1024, 2048, "bf16", 17.1),
    (512, 3072, "tf32", 42.8),
    (512, 4096, "tf32", 55.4),
    (1024, 2048, "tf32", 33.3),
    (512, 3072, "float32", 218.9),
    (512, 4096, "float32", 357.0),
    (1024, 2048, "float32", 191.3),
]


@pytest.mark.parametrize(("n", "m", "arithmetic", "measured"), MEASURED)
def test_cublas_takes_what_was_measured_within_a_quarter(n, m, arithmetic, measured):
    assert 0.75 <= 1e6 * H100.cublas_seconds(n, m, m, arithmetic) / measured <= 1.25


def test_no_product_is_faster_than_the_rate():
    for device in DEVICES:
        for name, rate in device.cublas.items():
            assert 2 * 8192**3 / (device.cublas_seconds(8192, 8192, 8192, name) - START) <= rate


def test_a_mask_in_place_takes_what_was_measured():
    # 0.05 ms for 8192 x 4096 bfloat16 on an H100
    assert 0.04e-3 < H100.mask_seconds(8192 * 4096, 2) < 0.05e-3
    assert A100.mask_seconds(8192 * 4096, 2) > H100.mask_seconds(8192 * 4096, 2)


def test_the_last_round_is_counted():
    assert A100.used(108) == 1
    assert A100.used(109) == pytest.approx(109 / 216)
