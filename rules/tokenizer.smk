"""Tokenizers.

In: a dataset. Out: a tokenizer in Hugging Face form whose rows are tokens that the dataset can use.
"""


def tokenizer_mb(tokenizer):
    return requests.world_mb(parent(tokenizer, "dataset").settings)


def tokenizer_minutes(tokenizer):
    return requests.world_minutes(parent(tokenizer, "dataset").settings)


rule make_tokenizer:
    """Build or train the tokenizer of one dataset."""
    input:
        inputs_of("tokenizer"),
    output:
        manifest="results/tokenizers/{tokenizer}/manifest.json",
    log:
        "results/logs/make_tokenizer/{tokenizer}.log",
    priority: FIRST
    threads: 1
    resources:
        mem_mb=growing("tokenizers", tokenizer_mb),
        runtime=growing("tokenizers", tokenizer_minutes),
    message:
        "Making the tokenizer {wildcards.tokenizer}."
    shell:
        "python scripts/make_tokenizer.py --spec results/specs/{wildcards.tokenizer}.json > {log:q} 2>&1"
