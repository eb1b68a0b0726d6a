"""After any edit, exactly the jobs that the table of edits says are planned, and the executed ones leave no others."""

import json

import pytest
from checkout import Checkout
from edits import EDITS, Edit


def plan_jobs(checkout: Checkout) -> set[tuple[str, str]]:
    """Rule and slug of the jobs that `make plan` lists."""
    answer = checkout.capacity("plan", "--json")
    assert answer.returncode == 0, answer.stderr
    jobs = json.loads(answer.stdout)["jobs"]
    return {
        (job["rule"], "" if job["rule"].startswith("publish") else job["name"].split("/")[1].rpartition("-")[0])
        for job in jobs
    }


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_plans_exactly_the_jobs_it_makes_necessary(checkout: Checkout, edit: Edit):
    edit.make(checkout)
    assert checkout.planned() == edit.must_run
    assert plan_jobs(checkout) == edit.must_run


@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit.executed], ids=lambda edit: edit.name)
def test_an_edit_runs_exactly_these_jobs_and_then_nothing(checkout: Checkout, edit: Edit):
    edit.make(checkout)
    assert checkout.build() == edit.must_run
    assert checkout.planned() == set()
