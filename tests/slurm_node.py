"""A real SLURM on this machine for the tests: one node, two partitions, GPUs that are none.

Everything is a child of this process, in the foreground, so that it is stopped by what it is and
nothing else is touched: munged, slurmctld, slurmd and, where they are installed, mariadbd and
slurmdbd for accounting.  No root, no systemd, no cgroups.  Configuration, state, sockets and logs
lie in one folder, whose path has to be short (a socket's path has 107 characters).
"""

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
ACCOUNTING = ("mariadbd", "mariadb-install-db", "slurmdbd", "sacct")
CLIENTS = (
    "sbatch",
    "srun",
    "squeue",
    "scancel",
    "sinfo",
    "scontrol",
    "sacct",
    "sacctmgr",
    "sshare",
)
# One device file per GPU is asked for; these stand in for GPUs and exist everywhere.
DEVICES = ("/dev/null", "/dev/zero")
PR_SET_PDEATHSIG = 1


def find(program: str) -> str | None:
    """Path of a program, also where the path of ordinary users has no sbin."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def missing() -> list[str]:
    """What has to be installed before a node can start."""
    return [program for program in NEEDED if find(program) is None]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.2)


def free_ports(n: int) -> list[int]:
    """Ports of the loopback interface that nobody uses."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class SlurmNode:
    """One node with the partitions ``cpu`` and ``gpu``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user, self.host = getpass.getuser(), socket.gethostname().split(".")[0]
        self.accounting = all(find(program) for program in ACCOUNTING)
        self.daemons: dict[str, subprocess.Popen] = {}
        self.started: dict[str, int] = {}  # every pid that was ever started
        self.clients: list[subprocess.Popen] = []  # what tests run on it, ended with it
        self.conf = folder / "etc" / "slurm.conf"
        self.ports = dict(zip(("ctld", "d", "dbd", "sql"), free_ports(4), strict=True))

    # --- life ---------------------------------------------------------------------------------

    def __enter__(self) -> "SlurmNode":
        for name in ("etc", "state", "spool", "log", "run", "bin"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_all(self) -> None:
        run, etc = self.folder / "run", self.folder / "etc"
        self.start(
            "munged",
            *("--foreground", "--force", f"--key-file={etc / 'munge.key'}"),
            *(f"--socket={run / 'munge'}", f"--pid-file={run / 'munged.pid'}"),
            *(f"--log-file={self.folder / 'log' / 'munge'}", f"--seed-file={run / 'seed'}"),
        )
        wait_for("munge's socket", (run / "munge").exists)
        if self.accounting:
            self._start_accounting()
        self.start("slurmctld", "-D", "-c", "-f", str(self.conf))
        self.start("slurmd", "-D", "-f", str(self.conf))
        wait_for("an idle node", lambda: "idle" in self.ask("sinfo", "-h", "-o", "%t"))

    def _start_accounting(self) -> None:
        data, run = self.folder / "mysql", self.folder / "run"
        if not (data / "mysql").is_dir():
            subprocess.run(
                [
                    *(find("mariadb-install-db"), "--no-defaults", f"--user={self.user}"),
                    *(f"--datadir={data}", "--skip-test-db"),
                ],
                check=True,
                capture_output=True,
            )
        self.start(
            "mariadbd",
            *(
                "--no-defaults",
                f"--user={self.user}",
                f"--datadir={data}",
                f"--port={self.ports['sql']}",
            ),
            *(f"--socket={run / 'mysql'}", "--bind-address=127.0.0.1"),
            *(f"--pid-file={run / 'mysql.pid'}", "--innodb-buffer-pool-size=64M"),
        )
        client = ["mariadb", "--no-defaults", "-u", self.user, "-S", str(run / "mysql"), "-e"]
        setup = (
            "create database if not exists slurm_acct_db; "
            "create user if not exists slurm@'%' identified by 'slurm'; "
            "grant all on slurm_acct_db.* to slurm@'%'; flush privileges"
        )
        wait_for(
            "the database",
            lambda: not subprocess.run([*client, setup], capture_output=True).returncode,
        )
        self.start("slurmdbd", "-D")
        wait_for(
            "slurmdbd", lambda: self.client("sacctmgr", "-n", "show", "cluster").returncode == 0
        )

    def start(self, program: str, *arguments: str) -> None:
        """Start a daemon in the foreground; it ends when this process does."""
        path = find(program)
        assert path is not None, program
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        for name in ("CUDA_VISIBLE_DEVICES", "VIRTUAL_ENV"):
            environment.pop(name, None)
        libc = ctypes.CDLL(None)
        with (self.folder / "log" / f"{program}.out").open("ab") as log:
            self.daemons[program] = subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
            )
        self.started[program] = self.daemons[program].pid

    def stop_daemon(self, program: str) -> None:
        """Stop one daemon, if it runs."""
        daemon = self.daemons.pop(program, None)
        if daemon is None:
            return
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(20)

    def stop(self) -> None:
        """Cancel all jobs, wait for their processes, stop what was started."""
        for process in self.clients:
            if process.poll() is None:
                process.kill()
                process.wait()
        if "slurmctld" in self.daemons and "slurmd" in self.daemons:
            self.client("scancel", "-u", self.user)
            try:
                wait_for("an empty queue", lambda: not self.ask("squeue", "-h").strip(), 40)
                wait_for("the end of the jobs' processes", lambda: not self.job_processes(), 40)
            except (TimeoutError, subprocess.TimeoutExpired):
                pass  # the survivors are killed below
        for pid in self.job_processes():
            os.kill(pid, signal.SIGKILL)
        for program in ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged"):
            self.stop_daemon(program)

    def job_processes(self) -> list[int]:
        """Processes of jobs: those whose environment names a job, and this node."""
        marks = (f"CIVA_TEST_NODE={self.folder}".encode(), b"SLURM_JOB_ID=")
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        found = [pid for pid in pids if all(mark in _environ(pid) for mark in marks)]
        return [pid for pid in found if is_running(pid)]

    # --- use ----------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a shell in which this node is the cluster."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "CIVA_TEST_NODE": str(self.folder)}

    def client(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )

    def ask(self, *command: str) -> str:
        return str(self.client(*command).stdout)

    def jobs(self, state: str = "all") -> dict[str, str]:
        """Job id -> comment, which names rule or group, of jobs that the controller knows."""
        lines = self.ask("squeue", "-h", "-t", state, "-o", "%i|%k").splitlines()
        return dict(line.split("|", 1) for line in lines)

    # --- configuration ------------------------------------------------------------------------

    def _write_configuration(self) -> None:
        etc, run = self.folder / "etc", self.folder / "run"
        (etc / "munge.key").write_bytes(os.urandom(128))
        (etc / "munge.key").chmod(0o600)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 512
        cores = os.cpu_count()
        storage = (
            "AccountingStorageType=accounting_storage/slurmdbd\n"
            "AccountingStorageHost=127.0.0.1\n"
            f"AccountingStoragePort={self.ports['dbd']}\n"
            f"AccountingStoragePass={run / 'munge'}\nAccountingStorageTRES=gres/gpu"
            if self.accounting
            else "AccountingStorageType=accounting_storage/none"
        )
        self.conf.write_text(
            f"""ClusterName=civatest
SlurmctldHost={self.host}(127.0.0.1)
SlurmUser={self.user}
SlurmdUser={self.user}
AuthType=auth/munge
AuthInfo=socket={run / "munge"},cred_expire=10
CredType=cred/munge
SlurmctldPort={self.ports["ctld"]}
SlurmdPort={self.ports["d"]}
StateSaveLocation={self.folder / "state"}
SlurmdSpoolDir={self.folder / "spool"}
SlurmctldPidFile={run / "slurmctld.pid"}
SlurmdPidFile={run / "slurmd.pid"}
SlurmctldLogFile={self.folder / "log" / "slurmctld.log"}
SlurmdLogFile={self.folder / "log" / "slurmd.log"}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=5
ReturnToService=2
MinJobAge=900
KillWait=10
GresTypes=gpu
DefMemPerCPU=500
{storage}
NodeName={self.host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:{len(DEVICES)}
PartitionName=cpu Nodes={self.host} Default=YES MaxTime=2880 State=UP
PartitionName=gpu Nodes={self.host} MaxTime=2880 State=UP
"""
        )
        (etc / "gres.conf").write_text(
            "".join(f"NodeName={self.host} Name=gpu File={device}\n" for device in DEVICES)
        )
        (etc / "cgroup.conf").write_text("")
        dbd = etc / "slurmdbd.conf"
        dbd.write_text(
            f"""AuthType=auth/munge
AuthInfo=socket={run / "munge"}
DbdHost=localhost
DbdPort={self.ports["dbd"]}
SlurmUser={self.user}
PidFile={run / "slurmdbd.pid"}
LogFile={self.folder / "log" / "slurmdbd.log"}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={self.ports["sql"]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""
        )
        dbd.chmod(0o600)
        # Inside a job Snakemake clears the variables of SLURM, the path of the configuration too:
        # clients that name it themselves stand first on the path.
        for name in filter(find, CLIENTS):
            shim = self.folder / "bin" / name
            shim.write_text(f'#!/bin/sh\nSLURM_CONF={self.conf} exec {find(name)} "$@"\n')
            shim.chmod(0o755)


def _environ(pid: int) -> bytes:
    """Environment of a process; nothing if it has ended, or is somebody else's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
