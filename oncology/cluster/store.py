"""The state of every task on disk, in `OUT/.cohort` beside the results.

A task is finished when its results exist, which `oncology fit` writes as a whole. A runner holds a lock on the task's
lock file and passes it to the processes it starts: a held lock means that the task is running, even if its runner was
killed. Failures and stops are kept in the task's record.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from oncology.cluster.tasks import Task
from oncology.errors import ConfigError, OutputError

__all__ = ["FOLDER", "StateName", "Store", "TaskState", "write_whole"]

FOLDER = ".cohort"
RESULT = "estimate.json"
StateName = Literal["finished", "running", "queued", "failed", "stopped", "waiting"]


@dataclass(frozen=True)
class TaskState:
    """State of a task.

    Attributes:
        name: finished; running; queued (in Slurm); failed; stopped (it resumes from its last iterate); waiting.
        message: One line that says what went wrong; else empty.
    """

    name: StateName
    message: str = ""


@dataclass(frozen=True)
class Store:
    """The files that record the tasks of one plan.

    Attributes:
        out: Folder of all results.
    """

    out: Path

    @property
    def folder(self) -> Path:
        """Folder of these files."""
        return self.out / FOLDER

    def log(self, task: Task) -> Path:
        """Return the file with all output of a task's fit."""
        return self.folder / "logs" / f"{task.name}.log"

    def open(self, plan: Path, tasks: Sequence[Task]) -> None:
        """Create the folders, and check that existing results belong to these tasks.

        Raises:
            OutputError: The folder cannot be written, or holds other files than a cohort's.
            ConfigError: Results were made for another case, or with other settings than those of the plan.
        """
        try:
            if self.out.is_dir() and any(self.out.iterdir()) and not self.folder.is_dir():
                raise OutputError(f"{self.out}: holds other files than a cohort's results: choose another out")
            self.folder.mkdir(parents=True, exist_ok=True)
            known = self._known()
            for task in tasks:
                self._require_same_settings(plan, task, known.get(task.name))
                for path in (self.log(task), self._lock(task), self._record(task), task.out):
                    path.parent.mkdir(parents=True, exist_ok=True)
            content = known | {task.name: task.as_dict() for task in tasks}
            write_whole(self.folder / "tasks.json", json.dumps(content, indent=1) + "\n")
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"{self.out}: cannot be written ({reason}): choose another out") from error

    def claim(self, task: Task) -> IO[str] | None:
        """Return the task's lock file, locked, or None while another process runs the task.

        Pass its descriptor to the processes that work on the task, and close it when they have ended.
        """
        handle = self._lock(task).open("a")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        except OSError:  # a file system without locks: two runners are then not kept apart
            pass
        return handle

    def is_finished(self, task: Task) -> bool:
        """Tell whether the results exist."""
        return (task.out / RESULT).is_file()

    def is_claimed(self, task: Task) -> bool:
        """Tell whether a process is running the task."""
        with suppress(FileNotFoundError), self._lock(task).open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                return False
        return False

    def note(self, task: Task, state: Literal["started", "failed", "stopped"], message: str = "") -> None:
        """Record what happened to a task."""
        write_whole(self._record(task), json.dumps({"state": state, "message": message}) + "\n")

    def state(self, task: Task, queue: Mapping[str, StateName] | None = None) -> TaskState:
        """Return the state of a task.

        Args:
            task: The task.
            queue: States of the tasks in Slurm's queue ("running" or "queued"), by task name.
        """
        if self.is_finished(task):
            return TaskState("finished")
        if self.is_claimed(task):
            return TaskState("running")
        if queue and task.name in queue:
            return TaskState(queue[task.name])
        record = _read(self._record(task))
        match record.get("state"):
            case "failed":
                return TaskState("failed", str(record.get("message", "")))
            case "stopped" | "started":
                return TaskState("stopped", str(record.get("message", "")))
        return TaskState("waiting")

    def _lock(self, task: Task) -> Path:
        return self.folder / "locks" / f"{task.name}.lock"

    def _record(self, task: Task) -> Path:
        return self.folder / "records" / f"{task.name}.json"

    def _known(self) -> dict[str, Any]:
        return dict(_read(self.folder / "tasks.json"))

    def _require_same_settings(self, plan: Path, task: Task, before: Mapping[str, Any] | None) -> None:
        """Refuse results of another case or of other settings in the place of a task's own."""
        if before is None or not (self.is_finished(task) or any(task.out.parent.glob(f"{task.out.name}.tmp-*"))):
            return
        old = Task.from_dict(before)
        changed = sorted(key for key in old.options | task.options if old.options.get(key) != task.options.get(key)) + (
            [] if old.case == task.case else ["case"]
        )
        if changed:
            raise ConfigError(
                f"{plan}: {task.out} was made with another {', '.join(changed)}: change it back, choose another out or "
                "variant, or remove that folder"
            )


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
