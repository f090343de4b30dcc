"""Cohorts: the fits of a plan, run on one machine or as job arrays on Slurm, and the table of their results.

Every fit is a process of its own (`oncology fit`); its state and its results are read from disk.
"""

from oncology.cluster.plan import CohortPlan, read_plan
from oncology.cluster.store import Store, TaskState
from oncology.cluster.tasks import Task, list_tasks

__all__ = ["CohortPlan", "Store", "Task", "TaskState", "list_tasks", "read_plan"]
