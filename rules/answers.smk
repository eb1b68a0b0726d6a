"""Answers to questions.

In: a dataset, its tokenizer, questions and a set of fine-tuned models. Out: what each model answers about each person,
whether it is right, and the loss of the right answer.
"""


rule probe_answers:
    """Ask every fine-tuned model of one checkpoint the questions about all people."""
    input:
        flow.inputs,
    output:
        manifest="results/answers/{answers}/manifest.json",
    log:
        "results/logs/probe_answers/{answers}.log",
    threads: 1
    resources:
        gpu=flow.gpus("answers"),
        mem_mb=flow.memory("answers"),
        runtime=flow.minutes("answers"),
    message:
        "Asking {wildcards.answers}."
    shell:
        "python scripts/probe_answers.py --spec results/specs/{wildcards.answers}.json > {log:q} 2>&1"
