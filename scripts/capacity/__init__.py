"""Bits of knowledge that a language model stores: worlds of facts, training, quantisation, probes and tables."""
