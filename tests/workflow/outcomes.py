"""Print the outcome of the table of edits as Markdown, from what `make test-long` wrote.

python tests/workflow/outcomes.py results/edit_outcomes.jsonl
"""

import argparse
import json
from collections import Counter
from pathlib import Path

STAGES = {
    "make_dataset": "dataset",
    "rewrite_dataset": "rewriting",
    "make_tokenizer": "tokenizer",
    "train_checkpoint": "checkpoint",
    "quantize_checkpoint": "variants",
    "probe_checkpoint": "probe",
    "make_questions": "questions",
    "finetune_qa": "fine-tuning",
    "probe_answers": "answers",
    "tabulate_capacity": "table",
    "plot_capacity": "figures",
}


def jobs_in_words(jobs: list[list[str]]) -> str:
    """Jobs by stage, in the order of the flow, with their number where it is not one."""
    counts = Counter(rule for rule, _ in jobs)
    words = [f"{counts[rule]} × {name}" if counts[rule] > 1 else name for rule, name in STAGES.items() if counts[rule]]
    return ", ".join(words) or ("publishing" if jobs else "nothing")


def as_markdown(outcomes: list[dict]) -> str:
    """One row an edit: what had to run, what ran, whether they are the same jobs."""
    lines = ["| edit | had to run | ran | same jobs |", "|---|---|---|---|"]
    for outcome in outcomes:
        wanted, ran = (jobs_in_words(outcome[key]) for key in ("wanted", "ran"))
        same = "yes" if outcome["wanted"] == outcome["ran"] else "**no**"
        lines.append(f"| {outcome['edit']} | {wanted} | {ran} | {same} |")
    return "\n".join(lines)


def main() -> None:
    """Read the outcomes, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path)
    print(as_markdown([json.loads(line) for line in parser.parse_args().outcomes.read_text().splitlines()]))


if __name__ == "__main__":
    main()
