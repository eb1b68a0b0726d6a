"""Tokenizers.

In: a dataset. Out: tokenizer.json and tokenizer_config.json in Hugging Face form, whose rows are tokens that the dataset can use.
"""


rule make_tokenizer:
    """Build or train the tokenizer of one dataset."""
    input:
        flow.inputs,
    output:
        manifest="results/tokenizers/{tokenizer}/manifest.json",
    log:
        "results/logs/make_tokenizer/{tokenizer}.log",
    priority: flow.first
    threads: 1
    resources:
        mem_mb=flow.memory("tokenizers"),
        runtime=flow.minutes("tokenizers"),
    message:
        "Making the tokenizer {wildcards.tokenizer}."
    shell:
        "python scripts/make_tokenizer.py --spec results/specs/{wildcards.tokenizer}.json > {log:q} 2>&1"
