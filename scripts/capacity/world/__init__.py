"""Worlds of facts: people, the grammar that words them, and the renderer that makes labelled tokens."""

from capacity.world.account import Account
from capacity.world.facts import World, load_world, make_world, save_world
from capacity.world.grammar import Attribute, Grammar, Slot
from capacity.world.junk import JunkPeople, junk_draws, junk_probe_draws
from capacity.world.pieces import EOS_ID, FILLER, FIRST_VALUE, NAME
from capacity.world.render import Renderer, Rendering
from capacity.world.rewritings import Rewritings
from capacity.world.sampling import (
    BLOCK,
    Draws,
    calibration_draws,
    name_only_draws,
    num_blocks,
    probe_draws,
    training_draws,
)
from capacity.world.written import TextRenderer, renderer_of
from capacity.world.zipf import Zipf

__all__ = [
    "BLOCK",
    "EOS_ID",
    "FILLER",
    "FIRST_VALUE",
    "NAME",
    "Account",
    "Attribute",
    "Draws",
    "Grammar",
    "JunkPeople",
    "Renderer",
    "Rendering",
    "Rewritings",
    "Slot",
    "TextRenderer",
    "World",
    "Zipf",
    "calibration_draws",
    "junk_draws",
    "junk_probe_draws",
    "load_world",
    "make_world",
    "name_only_draws",
    "num_blocks",
    "probe_draws",
    "renderer_of",
    "save_world",
    "training_draws",
]
