"""What a language model is asked: a text with the facts of one person, given as short sentences in any order."""

from capacity.rewriting.check import mentioned_attributes
from capacity.world import streams
from capacity.world.facts import World
from capacity.world.grammar import Slot

INSTRUCTION = (
    "Write a biography of {name} in about {words} words. Be creative, and tell the facts in an order of your own. "
    "Begin with the full name, {name}{pronoun}. Write every name, place and date exactly as it stands here, "
    "tell every fact once, and add none.\n"
)


def prompt(world: World, person: int, number: int, words: int) -> str:
    """The prompt of a person's text, worded by its number (arXiv 2404.05405, section 2: bioR has 40 a person)."""
    grammar = world.grammar
    rng = streams.generator(world.seed, streams.PROMPT, person, number)

    def read(*slots: Slot) -> str:
        codes = [int(world.facts[slot.column][person]) if slot.column else 0 for slot in slots]
        return "".join(grammar.read(slot, code) for slot, code in zip(slots, codes, strict=True)).strip()

    sentences = []
    for attribute in mentioned_attributes(grammar):
        before, after = attribute.templates[rng.integers(len(attribute.templates))]
        sentences.append(f"The person{before} {read(*attribute.slots)}{after}")
    rng.shuffle(sentences)
    pronoun = f", and say {read(grammar.pronoun)} from then on" if grammar.pronoun else ""
    return INSTRUCTION.format(name=read(*grammar.name), words=words, pronoun=pronoun) + " ".join(sentences)
