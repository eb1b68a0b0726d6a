"""Questions about a dataset's people.

In: a dataset and its tokenizer. Out: the texts that fine-tuning reads, those that are only asked, and a tokenizer that
has their words too.
"""


rule make_questions:
    """Word the questions about one dataset, and say who is asked in training and who is not."""
    input:
        flow.inputs,
    output:
        manifest="results/questions/{questions}/manifest.json",
    log:
        "results/logs/make_questions/{questions}.log",
    threads: 1
    resources:
        mem_mb=flow.memory("questions"),
        runtime=flow.minutes("questions"),
    message:
        "Wording the questions {wildcards.questions}."
    shell:
        "python scripts/make_questions.py --spec results/specs/{wildcards.questions}.json > {log:q} 2>&1"
