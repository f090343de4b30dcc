"""Cohorts: a plan becomes a list of fits, run on the cores of one machine or as job arrays on Slurm, and a table.

Nothing here solves anything: every fit is an `oncology fit` of its own, and what is known of it is what it left on
disk.
"""

from oncology.cluster.plan import Plan, read_plan
from oncology.cluster.store import State, Store
from oncology.cluster.tasks import Task, list_tasks

__all__ = ["Plan", "State", "Store", "Task", "list_tasks", "read_plan"]
