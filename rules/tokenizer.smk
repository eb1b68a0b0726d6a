"""Tokenizers.

In: a dataset. Out: a tokenizer in Hugging Face form whose rows are tokens that the dataset can use.
"""


rule make_tokenizer:
    """Build or train the tokenizer of one dataset."""
    input:
        spec="results/specs/{tokenizer}.json",
        dataset=lambda wildcards: made(order(wildcards.tokenizer).parents["dataset"]),
    output:
        manifest="results/tokenizers/{tokenizer}/manifest.json",
    log:
        "results/logs/make_tokenizer/{tokenizer}.log",
    threads: 1
    priority: FIRST
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "Making the tokenizer {wildcards.tokenizer}."
    shell:
        "python scripts/make_tokenizer.py --spec {input.spec:q} > {log:q} 2>&1"
