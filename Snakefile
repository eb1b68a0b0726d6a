"""How many bits of knowledge does a language model store per parameter?

The main process reads and checks the configuration, resolves it to specs (one frozen description an artefact, in
results/specs/), and includes the rules in the order of the flow. A job on a cluster reads this file again, but nothing
of the configuration: its own spec has everything.

Staleness is carried by paths alone: an artefact's folder is named by the digest of all that can change it. Its
manifest.json is written last and lists the files beside it, so it stands for them in the rules.
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


report: "report/workflow.rst"


sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from capacity.plan.flow import Flow

# What the rules below ask: specs, inputs and resources.
flow = Flow(workflow, Path("results"))

STAGES = "dataset rewriting tokenizer checkpoint variants probes questions finetunes answers table figures claims"


wildcard_constraints:
    **dict.fromkeys(STAGES.split(), r"[\w-]+"),


onstart:
    flow.start()


onerror:
    flow.fail()


onsuccess:
    flow.succeed()


localrules:
    all,
    publish_table,
    publish_figures,
    publish_claims,
    write_report,


rule all:
    """The capacity table, the runs behind it, the figures, and the claims where the configuration names some."""
    default_target: True
    input:
        "results/capacity_table.csv",
        "results/figures/capacity.png",
        "results/claims.csv" if flow.claims else [],


include: "rules/dataset.smk"
include: "rules/rewriting.smk"
include: "rules/tokenizer.smk"
include: "rules/checkpoint.smk"
include: "rules/variants.smk"
include: "rules/probe.smk"
include: "rules/questions.smk"
include: "rules/finetunes.smk"
include: "rules/answers.smk"
include: "rules/table.smk"
include: "rules/figures.smk"
include: "rules/claims.smk"
include: "rules/report.smk"
