"""Training on biographies and on questions about some people at once (arXiv 2309.14316, Section 3: mixed training)."""

import functools

import numpy as np
from tokenizers import Tokenizer

from capacity.errors import UserError
from capacity.extraction.finetune import QuestionBatches, question_rows
from capacity.extraction.questions import Asked, Lengths, encode, rows_of
from capacity.training.batches import IGNORED, Array, TrainingBatches
from capacity.training.mixture import Mixture
from capacity.training.spec import TrainingRegime
from capacity.world.facts import World
from capacity.world.pieces import EOS_ID


def check_windows(context: int, lengths: Lengths) -> None:
    """Refuse windows, or rows, that hold no question as it is asked. Raises UserError."""
    if context < lengths.positions:
        raise UserError(
            f"context: {context}, but questions with their answers have up to {lengths.positions} tokens; "
            "use a longer context or shorter wordings"
        )


class MixedBatches(TrainingBatches):
    """The steps of a training with rows, or windows, of questions between those of biographies.

    Biographies come as they would without questions, which make up `share` of all rows or windows. A row holds one
    question, a window as many as it has room for; of a question only the answer and its EOS are scored.
    """

    def __init__(
        self,
        world: World,
        tokenizer: Tokenizer,
        regime: TrainingRegime,
        seed: int,
        asked: Asked,
        share: float,
        all_rows: bool = False,
    ):
        super().__init__(world, tokenizer, regime, seed, all_rows)
        self._known, self._share = asked.tokenizer, share
        self._questions = QuestionBatches(asked, 1, seed)
        texts = [prompt + answer for prompt, answer in zip(asked.prompts, asked.answers, strict=True)]
        self._longest = max(map(len, encode(self._known, texts)))
        if not self._windows:
            self.context = max(self.context, asked.lengths.positions)
        check_windows(self.context, asked.lengths)

    @property
    def description(self) -> str:
        return f"{super().description}, and {len(self._questions.prompts):,} questions"

    @property
    def vocab_size(self) -> int:
        return rows_of(self._known)

    @functools.cached_property
    def mixture(self) -> Mixture:
        """How rows or windows of questions are spread."""
        return Mixture.of_share(self.num_useful_units, self._share, self.seed)

    def _fill_mixed(self, inputs: Array, targets: Array, start: int, stop: int) -> None:
        useful, useful_start, asked_start = self.mixture.split(start, stop)
        rows = np.flatnonzero(useful)
        if len(rows):
            some_inputs, some_targets = inputs[rows], targets[rows]
            self._fill(some_inputs, some_targets, useful_start, useful_start + len(rows))
            inputs[rows], targets[rows] = some_inputs, some_targets
        for place, row in enumerate(np.flatnonzero(~useful)):
            inputs[row], targets[row] = self._unit(asked_start + place)

    def _unit(self, number: int) -> tuple[Array, Array]:
        """One row or window of questions, with EOS where it has no more room, inputs and targets (T,)."""
        room = max(1, self.context // (self._longest + 1)) if self._windows else 1
        texts = self._questions.rows(number * room, (number + 1) * room)
        prompts = encode(self._known, [self._questions.prompts[text] for text in texts])
        answers = encode(self._known, [self._questions.answers[text] for text in texts])
        inputs = np.full(self.context, EOS_ID, dtype=np.int32)
        targets = np.full(self.context, IGNORED, dtype=np.int32)
        end = 0
        for prompt, answer in zip(prompts, answers, strict=True):
            row, scored = question_rows([prompt], [answer])
            size = row.shape[1]
            inputs[end : end + size], targets[end : end + size] = row[0], scored[0]
            end += size
        return inputs, targets
