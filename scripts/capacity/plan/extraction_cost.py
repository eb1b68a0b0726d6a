"""What it takes to fine-tune on questions and to ask them, where nothing like it has run."""

from capacity.artefacts.spec import Spec
from capacity.extraction.spec import MixedTraining, Tuning, read_try
from capacity.plan.estimates import (
    STARTUP_SECONDS,
    core_seconds,
    slow_seconds,
    training_flops,
    training_parameters,
)
from capacity.plan.requests import (
    QUESTION_TOKENS,
    QUESTIONS_A_PERSON,
    MadeFrom,
    SpecOf,
    made_from,
    parent,
    tuned_training,
)
from capacity.plan.roofline import assumed_rate
from capacity.training.spec import TrainingSettings


def finetunes_seconds(finetunes: Spec, spec_of: SpecOf) -> float:
    """Of all tries of one checkpoint, on one core or one GPU: 6 P a token, start-up included."""
    asked = made_from(parent(finetunes, "questions", spec_of), spec_of)
    training, seconds = tuned_training(finetunes, spec_of), STARTUP_SECONDS
    for member in finetunes.members:
        attempt = read_try(member.settings)
        if isinstance(attempt, MixedTraining):
            seconds += _mixed_seconds(asked, attempt)
        else:
            seconds += _question_seconds(asked, training, attempt)
    return seconds


def answers_seconds(answers: Spec, spec_of: SpecOf) -> float:
    """Of asking every model of a set every question once."""
    finetunes = parent(answers, "finetunes", spec_of)
    asked, training = made_from(parent(finetunes, "questions", spec_of), spec_of), tuned_training(finetunes, spec_of)
    tokens = len(answers.members) * asked[0].N * QUESTIONS_A_PERSON * QUESTION_TOKENS
    return STARTUP_SECONDS + _seconds(asked, training, 0, tokens)


def _mixed_seconds(asked: MadeFrom, attempt: MixedTraining) -> float:
    """Biographies as without, and between them the share of questions."""
    rate, _ = assumed_rate(*asked, attempt)
    return training_flops(*asked, attempt) / rate / (1 - attempt.share)


def _question_seconds(asked: MadeFrom, training: TrainingSettings, attempt: Tuning) -> float:
    return _seconds(asked, training, attempt.steps, attempt.steps * attempt.batch * QUESTION_TOKENS)


def _seconds(asked: MadeFrom, training: TrainingSettings, steps: int, tokens: int) -> float:
    flops = 6.0 * training_parameters(*asked, training) * tokens
    on_gpu = training.hardware.accelerator == "gpu"
    return slow_seconds(flops, steps, "gpu") if on_gpu else core_seconds(flops, steps, tokens)
