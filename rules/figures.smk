"""Figures.

In: the capacity table. Out: the figures, published under fixed paths.
"""


rule plot_capacity:
    """Draw bits stored against parameters, and R against R_max."""
    input:
        spec="results/specs/{figures}.json",
        table=lambda wildcards: made(order(wildcards.figures).parents["table"]),
    output:
        manifest="results/figures/{figures}/manifest.json",
    log:
        "results/logs/plot_capacity/{figures}.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "Drawing {wildcards.figures}."
    shell:
        "python scripts/plot_capacity.py --spec {input.spec:q} > {log:q} 2>&1"


rule publish_figures:
    """Copy the figures of the present configuration to their fixed paths."""
    input:
        figures=lambda wildcards: made(PLAN.grid.figures.name),
        stamp="results/specs/capacity_figures.stamp",
    output:
        png="results/figures/capacity.png",
        svg="results/figures/capacity.svg",
        identity="results/figures/capacity_figures.id",
    log:
        "results/logs/publish_figures.log",
    message:
        "Publishing {output.png}."
    shell:
        "python scripts/publish_figures.py --artefact {input.figures:q} --identity {output.identity:q}"
        " {output.png:q} {output.svg:q} > {log:q} 2>&1"
