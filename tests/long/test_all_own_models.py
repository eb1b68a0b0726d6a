"""Models that are not of the paper, asked questions and in every format: each ends in a row."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

from test_own_models import CALIBRATED, MODELS, QUANTIZERS, asking, check_calibrated, check_rows, rows_of

OTHERS = {
    "mixtral": {
        "hf": {
            **{"model_type": "mixtral", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
            **{"num_key_value_heads": 1, "intermediate_size": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
        }
    },
    "averages": {"python": "nets.own_models:averages"},
}
ROUNDED = {
    "gptq3": {"method": "gptq", "bits": 3},
    "ternary": {"method": "rtn", "format": "ternary", "group": "tensor"},
    "fp8": {"method": "rtn", "format": "fp8", "scale_format": "fp16", "rest": "bf16"},
    "asymmetric": {"method": "rtn", "bits": 4, "symmetric": False},
    "bf16": {"method": "rtn", "format": "bf16"},
}
BITS = {"none": 32, "int8": 8, "int4": 4, "gptq4": 4, "gptq3": 3, "ternary": 1.6, "fp8": 8, "asymmetric": 4, "bf16": 16}


def test_external_models_are_quantised_in_every_format_and_asked_questions(tmp_path: Path) -> None:
    questions = {"method": "mixed", "share": 0.5}
    models, quantizers = MODELS | OTHERS, QUANTIZERS | ROUNDED
    checkout = asking(tmp_path / "checkout", models, quantizers, extractions={"questions": questions})
    checkout.replace("config.yaml", "    N: 6\n", "    N: 20\n")
    checkout.replace("config.yaml", "    exposures: 2\n", "    exposures: 40\n")
    checkout.build()
    for model in models:
        rows = rows_of(checkout, model)
        assert {scheme: float(row["bits_per_weight"]) for scheme, row in rows.items()} == BITS
        if model in MODELS:  # the files of Mixtral hold its experts one by one, its scales do not
            check_rows(checkout.path / "results", {scheme: rows[scheme] for scheme in QUANTIZERS})
        assert all(float(row["R"]) <= float(row["R_max"]) for row in rows.values())
        assert float(rows["none"]["extractable"]) >= 0
    for model, names in CALIBRATED.items():
        check_calibrated(checkout.path / "results", rows_of(checkout, model), names)
