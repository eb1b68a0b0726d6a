"""A SLURM cluster as the engine's main process finds it before the first job, and what it would never run.

The engine itself waits for ever, or fails job by job with pages of text, where one line at the start can say
what is wrong.
"""

import getpass
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from capacity.errors import UserError

LONGEST_POLL = 180  # seconds between two looks of the SLURM plugin at its jobs, at most
SAFETY = 60  # seconds that a finished job must stay in the controller's memory beyond that
COMMANDS = ("sbatch", "squeue", "scontrol", "sinfo", "scancel")
# In what sbatch says of a job that can never run here; of others it says when they would start, or what is down now.
NEVER = re.compile("Invalid|configuration is not available|not permitted|denied|More processors|Memory required")


@dataclass(frozen=True)
class Partition:
    """What one partition allows. minutes: None is no limit. gpus, memory_mb: the most that one node has."""

    minutes: int | None
    gpus: int
    memory_mb: int
    cancels: bool  # jobs that are preempted are cancelled for good, not requeued


@dataclass(frozen=True)
class Request:
    """What one job asks for. partition: one or more, by commas; it and account: "" is the cluster's default."""

    job: str
    partition: str
    account: str
    gpus: int
    memory_mb: int
    minutes: int  # of its longest attempt


@dataclass(frozen=True)
class Cluster:
    """A cluster at one moment. min_job_age: seconds that squeue shows a finished job."""

    name: str
    accounting: bool
    min_job_age: int
    partitions: dict[str, Partition]
    default: str
    accounts: frozenset[str]  # of this user; empty where there is no accounting
    max_array_size: int
    notes: tuple[str, ...] = ()  # on what cannot be seen from here

    def status_command(self, first_look: int) -> str:
        """How the engine can follow its jobs here: squeue, or sacct where squeue drops them too soon.

        first_look: seconds before the plugin's first look; it takes sacct, present or not, for less than
        three times these. Raises UserError where neither can be used, because the engine would wait for
        ever.
        """
        needed = max(LONGEST_POLL + SAFETY, 3 * first_look)
        if self.min_job_age >= needed:
            return "squeue"
        if self.accounting:
            return "sacct"
        raise UserError(
            f"SLURM cluster {self.name}: MinJobAge is {self.min_job_age} s and there is no accounting, so "
            f"that the end of a job cannot be seen; ask for MinJobAge={max(needed, 300)} or slurmdbd"
        )

    def describe(self, status_command: str) -> str:
        """What was found, in one line."""
        accounting = "with accounting" if self.accounting else "without accounting"
        return f"SLURM cluster {self.name} {accounting}; jobs are followed by {status_command}"

    def no_arrays(self, status_command: str, num_jobs: int, limit: int) -> str:
        """Why the plugin would lose tasks of job arrays here, or "". limit: jobs that it gets at once.

        It drops jobs that are ready beyond the limit, numbers tasks through all arrays of a rule, and takes
        the state that sacct gives for one task for that of all.
        """
        if num_jobs > limit:
            return f"{num_jobs} jobs, of which jobs, max-jobs-per-timespan or resources lets {limit} go at once"
        if num_jobs >= self.max_array_size:
            return f"{num_jobs} jobs, and MaxArraySize is {self.max_array_size}"
        if status_command == "sacct":
            return "sacct does not follow their tasks"
        return ""

    def check(self, requests: Iterable[Request]) -> None:
        """Raise UserError for the first job that this cluster would refuse or leave waiting for ever."""
        for request in requests:
            names = (request.partition or self.default).split(",")
            for name in names:
                self._check_place(name, request.account)
            refusals = [self._refusal(name, request) for name in names]
            if all(refusals):
                raise UserError(refusals[0])

    def _check_place(self, name: str, account: str) -> None:
        if not name:
            raise UserError(f"slurm_partition: not given, and {self.name} has no default; {self._known_partitions()}")
        if name not in self.partitions:
            raise UserError(f"slurm_partition: {name!r} is not on {self.name}; {self._known_partitions()}")
        if self.partitions[name].cancels:
            raise UserError(
                f"slurm_partition: {name} cancels jobs that it preempts, which the engine cannot see; choose "
                "one that requeues them"
            )
        if account and self.accounts and account.lower() not in self.accounts:
            raise UserError(
                f"slurm_account: {account!r} is none of yours on {self.name}; there are: "
                f"{', '.join(sorted(self.accounts))}"
            )

    def _refusal(self, name: str, request: Request) -> str:
        """Why a job is too large for a partition, or ""."""
        partition, rule = self.partitions[name], request.job.partition(" ")[0]
        remedy = f"set-resources in slurm/config.yaml can change what {rule} asks for, and where"
        if request.gpus > partition.gpus:
            return (
                f"{request.job}: asks for {request.gpus} GPUs, a node of partition {name} has "
                f"{partition.gpus}; {remedy}"
            )
        if request.memory_mb > partition.memory_mb:
            return (
                f"{request.job}: asks for {request.memory_mb:,} MB, a node of partition {name} has "
                f"{partition.memory_mb:,}; {remedy}"
            )
        if partition.minutes is not None and request.minutes > partition.minutes:
            attempts = -(-request.minutes // max(1, partition.minutes))
            return (
                f"{request.job}: asks for {request.minutes:,} minutes, partition {name} allows "
                f"{partition.minutes:,}; put `{rule}: {{runtime: {partition.minutes}}}` under set-resources "
                f"in slurm/config.yaml (a training goes on in its next attempt, of which it takes up to {attempts:,}: "
                f"`retries: {attempts}` there)"
            )
        return ""

    def _known_partitions(self) -> str:
        return f"there are: {', '.join(sorted(self.partitions))}"


def look() -> Cluster:
    """Ask the controller. Raises UserError where this machine has no SLURM or nobody answers."""
    missing = [command for command in COMMANDS if not shutil.which(command)]
    if missing:
        raise UserError(
            f"SLURM: {', '.join(missing)} not found on this machine; start on a login node, or run without "
            "--profile slurm: snakemake --cores all"
        )
    config = _config(_ask("scontrol", "show", "config"))
    accounting = config.get("AccountingStorageType", "").endswith("slurmdbd")
    default, partitions = _partitions(_ask("sinfo", "--noheader", "--format=%P|%l|%M|%m|%G"))
    age = re.match(r"\d+", config.get("MinJobAge", ""))
    return Cluster(
        config.get("ClusterName", "?"),
        accounting,
        int(age[0]) if age else 0,
        partitions,
        default,
        _accounts() if accounting else frozenset(),
        int(config.get("MaxArraySize", "0")),
        tuple(_notes(config)),
    )


def _notes(config: dict[str, str]) -> Iterator[str]:
    if "qos" in config.get("PreemptType", ""):
        yield (
            "preemption is by QOS here: a job whose QOS has PreemptMode=CANCEL is not seen to end, and the run would "
            "wait for it; use one that requeues"
        )
    if os.environ.get("SLURM_CONF") and not _found_without(config.get("ClusterName", "")):
        yield (
            "SLURM_CONF is set, and jobs do not see it: see that compute nodes find slurm.conf without it, in its "
            "default place or from the controller"
        )


def _found_without(cluster: str) -> bool:
    """Whether SLURM's commands reach this cluster without SLURM_CONF on this machine."""
    plain = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}
    try:
        answer = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=60, env=plain)
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0 and _config(answer.stdout).get("ClusterName") == cluster


def try_out(job: str, call: str) -> None:
    """Have the controller judge a submission without making it. Raises UserError where the job could never run.

    call: what would submit it: sbatch and its flags, without a script.
    """
    try:
        answer = subprocess.run(
            [*shlex.split(call), "--test-only", "--wrap=true"], capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return  # a busy controller: the submission itself will show it
    said = answer.stderr.strip().splitlines()
    if answer.returncode and said and NEVER.search(said[-1]):
        reason = said[-1].removeprefix("sbatch: ").removeprefix("error: ").removeprefix("allocation failure: ")
        asked = re.sub("^.* --comment [^ ]+ +", "", call)
        raise UserError(f"{job}: sbatch refuses `{asked}` ({reason}); slurm/config.yaml can change what it asks for")


def _ask(*command: str) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM: no answer to `{' '.join(command)}` within a minute; is the controller up?") from None
    if answer.returncode:
        said = answer.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(f"SLURM: `{' '.join(command)}` failed ({said[-1]}); is the controller up?")
    return answer.stdout


def _config(text: str) -> dict[str, str]:
    """`Key = value` lines."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _partitions(text: str) -> tuple[str, dict[str, Partition]]:
    """The default partition, or "", and all partitions; the text has a line for each kind of node."""
    default = ""
    found: dict[str, Partition] = {}
    for line in filter(None, text.splitlines()):
        name, limit, preemption, memory, gres = line.split("|")
        if name.endswith("*"):
            name = default = name[:-1]
        other = found.get(name, Partition(None, 0, 0, False))
        size = re.match(r"\d+", memory)
        found[name] = Partition(
            minutes(limit),
            max(other.gpus, gpu_count(gres)),
            max(other.memory_mb, int(size[0]) if size else 0),
            preemption == "CANCEL",
        )
    return default, found


def minutes(limit: str) -> int | None:
    """Whole minutes of a limit as sinfo writes it: 30:00, 8:00:00, 2-00:00:00; None for infinite."""
    if limit in ("infinite", "UNLIMITED", "n/a"):
        return None
    days, _, clock = limit.rpartition("-")
    hours, mins, _ = ([0, 0, 0] + [int(part) for part in clock.split(":")])[-3:]
    return int(days or 0) * 1440 + hours * 60 + mins


def gpu_count(gres: str) -> int:
    """GPUs of a node from its generic resources, such as gpu:a100:4(S:0-1),gpu:t4:2 or (null)."""
    return sum(int(count) for count in re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", gres))


def _accounts() -> frozenset[str]:
    """Accounts that this user may charge, in lower case."""
    user = getpass.getuser()
    if not shutil.which("sacctmgr"):
        return frozenset()
    text = _ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={user}", "format=account")
    return frozenset(line.strip().lower() for line in text.splitlines() if line.strip())
