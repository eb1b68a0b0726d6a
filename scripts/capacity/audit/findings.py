"""Findings of an audit, and the grade that they give a level."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

LEVELS = {
    1: "inventory",
    2: "integrity",
    3: "currency",
    4: "re-execution",
    5: "determinism",
    6: "environment",
    7: "disclosure",
}

# What a level takes as true: of an archive it is done only where these were done and found no fault.
RESTS_ON = {4: (1, 2), 5: (1, 2)}


class Severity(IntEnum):
    """How much a finding weighs; the worst one decides the grade of a level and the exit code."""

    NOTE = 0  # worth knowing
    WARNING = 1  # true, but older, elsewhere or undisclosed
    FAULT = 2  # something is not what it says it is


GRADES = {Severity.NOTE: "pass", Severity.WARNING: "pass with warnings", Severity.FAULT: "fail"}
EXIT_CODES = {Severity.NOTE: 0, Severity.WARNING: 3, Severity.FAULT: 4}  # 1 is a refusal, 2 a wrong option


@dataclass(frozen=True)
class Finding:
    """One thing that was found: what kind, where, and what it is in the reader's words."""

    severity: Severity
    kind: str
    where: str  # a path below the results folder, with line and column where there are some
    what: str


@dataclass
class Level:
    """One level of an audit."""

    number: int
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: str = ""  # why the level was not done

    @property
    def title(self) -> str:
        return LEVELS[self.number]

    @property
    def worst(self) -> Severity:
        return max((finding.severity for finding in self.findings), default=Severity.NOTE)

    @property
    def grade(self) -> str:
        return f"not done: {self.skipped}" if self.skipped else GRADES[self.worst]

    def note(self, kind: str, where: str, what: str) -> None:
        """Add something worth knowing."""
        self.findings.append(Finding(Severity.NOTE, kind, where, what))

    def warn(self, kind: str, where: str, what: str) -> None:
        """Add something that is true but older, elsewhere or undisclosed."""
        self.findings.append(Finding(Severity.WARNING, kind, where, what))

    def fault(self, kind: str, where: str, what: str) -> None:
        """Add something that is not what it says it is."""
        self.findings.append(Finding(Severity.FAULT, kind, where, what))

    def add(self, severity: Severity, kind: str, where: str, what: str) -> None:
        """Add a finding whose weight depends."""
        self.findings.append(Finding(severity, kind, where, what))
