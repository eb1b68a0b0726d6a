"""Models fine-tuned on questions.

In: a checkpoint and questions; for mixed training a dataset, a tokenizer and questions. Out: a set of tries, one for
each pair of ranks and rate, each a model of its own in results/finetunes/, reused by its identity. A try that was
interrupted leaves its state in results/resume/ and goes on from there.
"""


rule finetune_qa:
    """Fine-tune one checkpoint on questions about some people, once a try."""
    input:
        flow.inputs,
    output:
        manifest="results/finetunes/{finetunes}/manifest.json",
    log:
        "results/logs/finetune_qa/{finetunes}.log",
    threads: 1
    resources:
        gpu=flow.gpus("finetunes"),
        mem_mb=flow.memory("finetunes"),
        runtime=flow.minutes("finetunes"),
    message:
        "Fine-tuning {wildcards.finetunes}."
    shell:
        "python scripts/finetune_qa.py --spec results/specs/{wildcards.finetunes}.json > {log:q} 2>&1"
