"""Fewer bits a weight: grids, rounding to nearest, GPTQ, and what a variant truly takes to store."""
