"""What is claimed of kernels by width."""

from cases.conditioning import claim


def test_wide_networks_are_close_to_infinite_width(settings, numbers):
    found = claim(settings, numbers, "finite width")
    assert found.agrees is True
    swapped = dict(numbers)
    for depth in (1, 2):
        narrow, wide = (f"widths depth {depth} width {width}" for width in (16, 256))
        swapped[narrow], swapped[wide] = numbers[wide], numbers[narrow]
    assert claim(settings, swapped, "finite width").agrees is False
