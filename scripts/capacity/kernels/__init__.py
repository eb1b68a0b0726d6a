"""Kernels of this project's own for a CPU, in C++."""
