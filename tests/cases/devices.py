"""Made-up devices, as the compiled module takes them."""

# Shared memory that a block may ask for, in bytes: CUDA C++ Programming Guide, "Technical Specifications per Compute
# Capability" (163, 99 and 227 KB).
SHARED_BYTES = {80: 166912, 86: 101376, 89: 101376, 90: 232448, 100: 232448, 120: 101376}


def made_up(architecture, multiprocessors, shared_bytes=None):
    """A device with the shared memory of its architecture, or another."""
    return architecture, multiprocessors, shared_bytes or SHARED_BYTES[architecture], 0
