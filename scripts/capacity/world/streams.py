"""Keyed randomness: every random choice has a fixed stream number, so that a new stream shifts no other.

A number once given is never reused or changed: it decides the bytes of every world.
"""

import numpy as np

NAMES = 1  # the bijection that hands out full names
VALUES = 2  # facts, by column
CHUNK_SETS = 3  # the D strings of each bioD attribute
PEOPLE_ORDER = 4  # training: the order of people, by exposure
TRAINING = 5  # training: templates and sentence order, by exposure and block
PROBE = 6  # probes: templates and sentence order, by draw and block
NAME_ONLY = 7  # probes of one attribute: templates, by draw, attribute and block
TOKENIZER = 8  # the text that a tokenizer is trained on, by block
PARAGRAPHS = 9  # templates and sentence order of paragraphs that are kept, by paragraph and block
JUNK_VALUES = 10  # facts of junk people, by column
JUNK = 11  # training: which junk people are rendered, and in which words, by block
MIXTURE = 12  # training: which rows, windows or biographies are useful, by group
ZIPF = 13  # training: in which order the exposures of Zipf's law come
REWRITING = 14  # what a rewriter draws, by text and attempt
PROMPT = 15  # the facts in a prompt: templates and order, by text
JUNK_PROBE = 16  # probes of junk people: templates and sentence order, by draw and block
CALIBRATION = 30  # the text that a quantizer is calibrated on: who, and in which words


def key(seed: int, stream: int, *more: int) -> np.random.SeedSequence:
    """The key of one stream; `more` are counters such as exposure and block."""
    return np.random.SeedSequence([seed, stream, *more])


def generator(seed: int, stream: int, *more: int) -> np.random.Generator:
    """A counter-based generator that depends on its key alone."""
    return np.random.Generator(np.random.Philox(key(seed, stream, *more)))
