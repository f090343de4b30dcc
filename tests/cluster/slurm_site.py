"""A Slurm of one node of its own: munged, slurmctld and slurmd on the loopback, with key, ports and files of their own.

with slurm_site(folder) as environment:
    subprocess.run(["sinfo"], env=environment)
"""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.cluster.cohorts import wait_for

INSTALL = "apt install slurmctld slurmd slurm-client munge"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
ARRAY_SIZE = 4  # MaxArraySize: indices end one below it

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
FirstJobId={first_job}
MaxArraySize={array_size}
KillWait=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Return the programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


@contextmanager
def slurm_site(folder: Path) -> Iterator[Mapping[str, str]]:
    """Start Slurm in a folder of its own, and stop it with all its jobs at the end.

    Yields:
        The environment in which Slurm's commands speak to it.
    """
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    values = {"host": platform.node().split(".")[0], "user": getpass.getuser(), "folder": folder}
    first = 1 + 100 * (os.getpid() % 500000)  # MPICH takes ranks of one job's number for one job's, also of two sites
    values |= {"first_job": first, "array_size": ARRAY_SIZE}
    text = CONFIGURATION.format(**values, ports=free_ports(2))
    (folder / "slurm.conf").write_text(text)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "PMI"))}
    environment = {**clean, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = {name: f"--{name}={folder}/munge/{name}" for name in ("socket", "pid-file", "log-file", "seed-file")}
    with ExitStack() as daemons:
        start = [["munged", "--foreground", "--force", f"--key-file={key}", *munge.values()]]
        start += [["slurmctld", "-D", "-c"], ["slurmd", "-D"]]
        for words in start:
            daemons.enter_context(daemon(words, environment, folder / f"{words[0]}.out"))
            if words[0] == "munged":
                wait_for((folder / "munge" / "socket").exists)
        daemons.callback(end_jobs, environment)
        wait_for(lambda: said(["sinfo", "--noheader", "--format=%t"], environment) == {"idle"})
        yield environment


def end_jobs(environment: Mapping[str, str]) -> None:
    """Cancel what still runs, so that no process outlives the node."""
    subprocess.run(["scancel", "--me"], env=environment, check=False)
    wait_for(lambda: not said(["squeue", "--noheader"], environment))


def said(words: list[str], environment: Mapping[str, str]) -> set[str]:
    """Return the lines that a command says."""
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return {line.strip() for line in done.stdout.splitlines()}


def free_ports(number: int) -> list[int]:
    """Return ports that nobody has, below those that the system gives to connections: they would be taken again."""
    found: list[int] = []
    first = 10000 + os.getpid() % 20000  # another one for each of several runs at a time
    for port in range(first, first + 1000):
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("", port))
            found.append(port)
        if len(found) == number:
            return found
    raise OSError(f"no {number} free ports in {first}..{first + 999}")


@contextmanager
def daemon(words: list[str], environment: Mapping[str, str], output: Path) -> Iterator[None]:
    """Keep a program running during the block."""
    with output.open("wb") as stream:
        program = shutil.which(words[0], path=PATH)
        process = subprocess.Popen([str(program), *words[1:]], env=environment, stdout=stream, stderr=stream)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
