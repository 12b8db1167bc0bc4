"""What the compiler made of CUDA kernels, and what follows from it for their time; `tools/cuda_static.py` prints it."""
