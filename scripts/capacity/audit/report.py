"""An audit's report: JSON for machines, a Markdown page and lines of text for people, one grade a level."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from capacity.audit.findings import EXIT_CODES, Finding, Level, Severity
from capacity.errors import printable

WORDS = {Severity.NOTE: "note", Severity.WARNING: "warning", Severity.FAULT: "fault"}
UNTOUCHED = "no cell of capacity_table.csv was made again, which LEVELS=4 TARGET=capacity_table.csv does"
SHOWN = 8  # places of one finding that are listed for people; the JSON has all


@dataclass
class Report:
    """All levels of one audit."""

    subject: dict[str, Any]  # what was audited, by which tree
    levels: list[Level] = field(default_factory=list)
    table_untouched: bool = False  # no cell of the published table was made again

    @property
    def worst(self) -> Severity:
        return max((level.worst for level in self.levels), default=Severity.NOTE)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.worst]

    def verdict(self) -> str:
        """One line: what was found, and which numbers nobody recomputed."""
        counts = Counter(WORDS[f.severity] for level in self.levels for f in level.findings if f.severity)
        found = ", ".join(f"{number} {word}{'s' if number > 1 else ''}" for word, number in counts.items())
        return (found or "no finding") + (f"; {UNTOUCHED}" if self.table_untouched else "")

    def as_json(self) -> str:
        """Everything."""
        levels = [
            {
                "level": level.number,
                "title": level.title,
                "grade": level.grade,
                "seconds": round(level.seconds, 2),
                "facts": level.facts,
                "findings": [{**asdict(f), "severity": WORDS[f.severity]} for f in level.findings],
            }
            for level in self.levels
        ]
        content = {"schema": 1, "subject": self.subject, "verdict": self.verdict(), "exit_code": self.exit_code}
        return json.dumps({**content, "levels": levels}, indent=1) + "\n"

    def as_text(self) -> str:
        """For the terminal: grades, then findings that weigh."""
        lines = [
            f"level {level.number}  {level.title:13s} {level.grade} ({level.seconds:.1f} s)" for level in self.levels
        ]
        for level in self.levels:
            for finding, places in grouped(level.findings):
                if finding.severity > Severity.NOTE:
                    first, what = printable(places[0]), printable(finding.what)
                    lines.append(f"{WORDS[finding.severity]}: {finding.kind}: {first}: {what}")
                    lines += [f"    also {printable(place)}" for place in places[1:SHOWN]]
                    lines += [f"    and {len(places) - SHOWN} more"] if len(places) > SHOWN else []
        return "\n".join([*lines, self.verdict()])

    def as_markdown(self) -> str:
        """One page."""
        lines = ["# Audit", "", f"Verdict: **{self.verdict()}**.", ""]
        lines += [f"- {key}: {_plain(value)}" for key, value in self.subject.items() if value not in (None, "")]
        lines += ["", "| level | | grade | seconds |", "|---|---|---|---|"]
        lines += [f"| {level.number} | {level.title} | {level.grade} | {level.seconds:.1f} |" for level in self.levels]
        for level in self.levels:
            lines += ["", f"## {level.number}. {level.title.capitalize()}: {level.grade}", ""]
            lines += [f"- {key}: {_shown(value)}" for key, value in level.facts.items()]
            for finding, places in grouped(level.findings):
                where = ", ".join(f"`{printable(place).replace('`', '?')}`" for place in places[:SHOWN])
                more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
                lines.append(f"- **{WORDS[finding.severity]}**, {finding.kind}: {where}{more}: {_plain(finding.what)}")
        return "\n".join(lines) + "\n"


def grouped(findings: list[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings of the same words once, worst first, each with all its places."""
    places: dict[tuple[Severity, str, str], list[str]] = {}
    first: dict[tuple[Severity, str, str], Finding] = {}
    for finding in findings:
        key = (finding.severity, finding.kind, finding.what)
        places.setdefault(key, []).append(finding.where)
        first.setdefault(key, finding)
    return [(first[key], places[key]) for key in sorted(places, key=lambda key: -key[0])]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, list):
        return "".join(f"\n  - {_shown(item)}" for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{_plain(key)}: {_shown(item)}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _plain(value)


def _plain(value: Any) -> str:
    """What others wrote, as text that is no markup and controls no terminal."""
    return printable(str(value)).replace("<", "&lt;")
