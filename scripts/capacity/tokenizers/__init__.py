"""Tokenizers: made on a dataset, or published and cut to it."""
