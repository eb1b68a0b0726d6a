"""Models fine-tuned on questions.

In: a checkpoint and questions; for mixed training a dataset, a tokenizer and questions. Out: a set of tries, one for
each pair of ranks and rate, each a model of its own in results/finetunes/, reused by its identity. A try that was
interrupted leaves its state in results/resume/ and goes on from there.
"""


def asked_world(finetunes):
    """The specs of the dataset and the tokenizer behind the questions."""
    return world(parent(finetunes, "questions"))


def tuned(finetunes):
    """A spec with the model that is tuned; of mixed training it is the try's own."""
    settings = finetunes.members[0].settings
    return settings if settings["method"] == "mixed" else parent(finetunes, "checkpoint").settings


def finetune_mb(finetunes):
    return requests.training_mb(*asked_world(finetunes), tuned(finetunes))


def finetune_minutes(finetunes):
    settings = finetunes.members[0].settings
    if settings["method"] == "mixed":
        minutes = requests.training_minutes(*asked_world(finetunes), settings)
        return minutes / (1 - settings["share"])
    texts = sum(try_.settings["steps"] * try_.settings["batch"] for try_ in finetunes.members)
    return requests.question_minutes(*asked_world(finetunes), tuned(finetunes), texts)


rule finetune_qa:
    """Fine-tune one checkpoint on questions about some people, once a try."""
    input:
        inputs_of("finetunes"),
    output:
        manifest="results/finetunes/{finetunes}/manifest.json",
    log:
        "results/logs/finetune_qa/{finetunes}.log",
    threads: 1
    resources:
        gpu=alike("finetunes", lambda tries: gpus(tries.members[0])),
        mem_mb=growing("finetunes", finetune_mb),
        runtime=growing("finetunes", finetune_minutes),
    message:
        "Fine-tuning {wildcards.finetunes}."
    shell:
        "python scripts/finetune_qa.py --spec results/specs/{wildcards.finetunes}.json > {log:q} 2>&1"
