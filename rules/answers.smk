"""Answers to questions.

In: a dataset, its tokenizer, questions and a set of fine-tuned models. Out: what each model answers about each person,
whether it is right, and the loss of the right answer.
"""


def answer_minutes(answers):
    tries = parent(answers, "finetunes")
    texts = (
        len(answers.members) * asked_world(tries)[0]["N"] * requests.QUESTIONS_A_PERSON
    )
    return requests.question_minutes(*asked_world(tries), tuned(tries), texts)


def answer_mb(answers):
    return finetune_mb(parent(answers, "finetunes"))


rule probe_answers:
    """Ask every fine-tuned model of one checkpoint the questions about all people."""
    input:
        inputs_of("answers"),
    output:
        manifest="results/answers/{answers}/manifest.json",
    log:
        "results/logs/probe_answers/{answers}.log",
    threads: 1
    resources:
        gpu=alike("answers", gpus),
        mem_mb=growing("answers", answer_mb),
        runtime=growing("answers", answer_minutes),
    message:
        "Asking {wildcards.answers}."
    shell:
        "python scripts/probe_answers.py --spec results/specs/{wildcards.answers}.json > {log:q} 2>&1"
