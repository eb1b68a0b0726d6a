"""A task for lm-evaluation-harness: the questions about people whose questions were not trained on, as it reads them.

The harness asks any model that transformers loads; of ours, a folder below results/finetunes/. Its exact_match is the
share of texts that the greedy continuation answers exactly, which `extractable` in the table is too.
"""

import json
from pathlib import Path

import yaml
from tokenizers import Tokenizer

from capacity.extraction.questions import asked_attributes, encode, groups_of, texts
from capacity.extraction.spec import QuestionSettings
from capacity.world.facts import World
from capacity.world.grammar import EOS_TOKEN


def write_task(world: World, tokenizer: Tokenizer, settings: QuestionSettings, name: str, folder: Path) -> int:
    """Write <name>.yaml and <name>.jsonl; the number of questions.

    settings: as `capacity.extraction.questions.write_questions` takes it. A prompt begins with EOS, as every text of
    training does. Answers may be one token longer than the longest right one, as our own probe lets them be.
    """
    held_out = groups_of(world, settings)[-1]
    table = texts(world, asked_attributes(world, settings.wordings), held_out)
    data = folder / f"{name}.jsonl"
    with open(data, "w", encoding="utf-8") as file:
        for row in table.to_pylist():
            file.write(json.dumps({**row, "prompt": EOS_TOKEN + row["prompt"]}) + "\n")
    longest = max(map(len, encode(tokenizer, table["answer"].unique().to_pylist())))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [EOS_TOKEN], "max_gen_toks": longest + 1, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False, width=120), encoding="utf-8")
    return len(table)
