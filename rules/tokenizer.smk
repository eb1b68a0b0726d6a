"""Tokenizers.

In: a dataset. Out: a tokenizer in Hugging Face form whose rows are tokens that the dataset can use.
"""


def tokenizer_mb(tokenizer):
    return requests.world_mb(parent(tokenizer, "dataset").spec)


def tokenizer_minutes(tokenizer):
    return requests.world_minutes(parent(tokenizer, "dataset").spec)


rule make_tokenizer:
    """Build or train the tokenizer of one dataset."""
    input:
        spec="results/specs/{tokenizer}.json",
        parents=parents_of("tokenizer"),
    output:
        manifest="results/tokenizers/{tokenizer}/manifest.json",
    log:
        "results/logs/make_tokenizer/{tokenizer}.log",
    priority: FIRST
    threads: 1
    resources:
        mem_mb=growing("tokenizer", tokenizer_mb),
        runtime=growing("tokenizer", tokenizer_minutes),
    message:
        "Making the tokenizer {wildcards.tokenizer}."
    shell:
        "python scripts/make_tokenizer.py --spec {input.spec:q} > {log:q} 2>&1"
