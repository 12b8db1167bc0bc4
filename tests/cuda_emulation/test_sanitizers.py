"""Every kernel family under AddressSanitizer, UndefinedBehaviorSanitizer and, with real threads, ThreadSanitizer."""

import subprocess

import pytest
from cases import emulation_build


@pytest.mark.parametrize(("sanitizer", "runner"), [("address", "fibers"), ("thread", "threads")])
def test_no_family_is_reported(sanitizer, runner):
    try:
        program = emulation_build.sanitizer_cases(sanitizer)
    except emulation_build.CompileError as error:
        pytest.fail(str(error), pytrace=False)
    result = subprocess.run([program, runner], capture_output=True, text=True, timeout=600, check=False)
    assert result.stderr == ""
    assert result.returncode == 0, result.stdout
