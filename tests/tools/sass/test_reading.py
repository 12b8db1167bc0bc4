"""Listings of cuobjdump, and that no kernel that was compiled spills."""

from sass.reading import Kernel, basic_blocks, parse_kernels, short_name


def test_nothing_is_spilled(kernels):
    assert kernels
    for kernel in kernels:
        assert (kernel.spills, kernel.stack) == (0, 0), (kernel.name, kernel.architecture)


def test_every_kernel_says_how_many_threads_it_takes(kernels):
    assert all(32 <= kernel.threads <= 1024 for kernel in kernels)


def kernel_of(*lines):
    return Kernel("k", 80, instructions=[(16 * i, line) for i, line in enumerate(lines)])


def test_blocks_end_at_branches_and_begin_at_their_targets():
    kernel = kernel_of("MOV R1, R2", "FFMA R1, R1, R1, R1", "@P0 BRA 0x10", "EXIT")
    texts = [[text for _, text in block] for block in basic_blocks(kernel)]
    assert texts == [["MOV R1, R2"], ["FFMA R1, R1, R1, R1", "@P0 BRA 0x10"], ["EXIT"]]


def test_spills_are_counted():
    assert kernel_of("STL [R1], R2", "@P0 LDL R2, [R1]", "LDG.E R2, [R4.64]").spills == 2


USAGE = """
Fatbin elf code:
arch = sm_90
Resource usage:
 Function twice:
  REG:40 STACK:8 SHARED:1024 LOCAL:0 CONSTANT[0]:424
"""
SASS = """
\tcode for sm_90
\t\tFunction : twice
        /*0000*/                   LDC R1, c[0x0][0x28] ;                   /* 0x00000a00ff017b82 */
                                                                            /* 0x000fe20000000800 */
        /*0010*/              @!P0 EXIT ;                                   /* 0x000000000000894d */
"""
ELF = """
arch = sm_90
.nv.info.twice
\tAttribute:\tEIATTR_MAX_THREADS
\tFormat:\tEIFMT_SVAL
\tValue:\t0x80 0x1 0x1
"""


def test_a_kernel_is_put_together_from_three_listings():
    (kernel,) = parse_kernels(USAGE, SASS, ELF)
    # The driver's KB of shared memory is not the kernel's.
    assert kernel == Kernel("twice", 90, 40, 8, 0, 128, [(0, "LDC R1, c[0x0][0x28]"), (16, "@!P0 EXIT")])


def test_the_code_of_a_cubin_says_its_architecture():
    (kernel,) = parse_kernels(USAGE.replace("arch = sm_90\n", ""), SASS, "")
    assert (kernel.architecture, kernel.registers) == (90, 40)


def test_names_lose_what_all_of_them_have():
    name = "void gatentk::cuda::gram_kernel<(int)2>(gatentk::cuda::GramArguments<float>, int, int)"
    assert short_name(name) == "gram_kernel<(int)2>"
    assert short_name("void gatentk::cuda::(anonymous namespace)::fill<float, 4>(float*, int)") == "fill<float, 4>"
