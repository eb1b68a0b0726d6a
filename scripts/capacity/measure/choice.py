"""What a budget allowed a measure when it was begun: the same command is the same measure again, whatever is made."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from capacity.artefacts.manifest import write_atomically
from capacity.measure.pair import MeasureStudy

CHOICE = "choice.json"  # beside the configuration and the card


@dataclass(frozen=True)
class AskedMeasure:
    """What worlds and seeds are chosen from. seeds: None where the budget decides. core_hours: the budget on all cores.

    sections: of the configuration, with all worlds and the first rates: models, recipe, schemes and questions.
    """

    sections: dict[str, Any]
    seeds: int | None
    core_hours: float

    @classmethod
    def of(cls, study: MeasureStudy, core_hours: float, seeds_given: bool) -> "AskedMeasure":
        """study: before anything is chosen."""
        return cls(study.config(), study.seeds if seeds_given else None, core_hours)

    def plain(self) -> dict[str, Any]:
        """As it comes back from JSON."""
        return dict(json.loads(json.dumps(asdict(self))))


def keep_choice(asked: AskedMeasure, study: MeasureStudy, folder: Path) -> None:
    """Note what was chosen, before anything is trained."""
    chosen = {"offered": study.offered, "left_out": study.left_out, "seeds": study.seeds}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CHOICE, json.dumps({"asked": asked.plain(), "chosen": chosen}) + "\n")


def chosen_before(asked: AskedMeasure, study: MeasureStudy, folder: Path) -> MeasureStudy | None:
    """The study with what was chosen when the same was asked; None where it was not."""
    try:
        kept = json.loads((folder / CHOICE).read_text(encoding="utf-8"))
        if kept["asked"] != asked.plain():
            return None
        chosen = kept["chosen"]
        return replace(
            study, offered=tuple(chosen["offered"]), left_out=tuple(chosen["left_out"]), seeds=int(chosen["seeds"])
        )
    except (OSError, ValueError, KeyError, TypeError):  # none was kept, or not whole
        return None
