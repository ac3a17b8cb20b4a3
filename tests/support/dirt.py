"""Everything that nsys writes about a machine, its user and the program, put into a trace."""

from __future__ import annotations

import sqlite3
from pathlib import Path

HOST, USER, TOKEN = "gpu-node-17", "marieweber", "s3cr3tvalue99"
HOME = f"/home/{USER}"
UUID = "1d3e5f70-aaaa-bbbb-cccc-1234567890ab"
DIRT = (
    HOST,
    USER,
    TOKEN,
    HOME,
    UUID,
    "0000:3b:00.0",
    "train_private_model.py",
    "hello from the program",
    "project-x-lab",
)


def soil(clean: Path, target: Path) -> Path:
    """A copy with everything that nsys writes about a machine, and deleted rows in its free pages."""
    target.write_bytes(clean.read_bytes())
    db = sqlite3.connect(target)
    tables = {r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def string(text: str) -> int:
        identity = db.execute("SELECT max(id) + 1 FROM StringIds").fetchone()[0]
        db.execute("INSERT INTO StringIds VALUES (?, ?)", (identity, text))
        return int(identity)

    environment = f"HOME={HOME}\0API_TOKEN={TOKEN}\0HOSTNAME={HOST}\0WANDB_PROJECT=project-x-lab\0MODE=inference\0N=1"
    string(environment)
    db.executemany(
        "INSERT INTO META_DATA_CAPTURE VALUES (?, ?)",
        [
            ("DEVICE_DISPLAY_NAME", HOST),
            ("PROCESS_0:COMMAND", f"{HOME}/venv/bin/python"),
            ("PROCESS_0:ARGUMENT_0", f"{HOME}/train_private_model.py"),
            ("PROCESS_0:WORKING_DIR", f"{HOME}/project"),
            ("PROCESS_0:ENVIRONMENT_VARIABLE", f'API_TOKEN="{TOKEN}"'),
            ("PROCESS_0:ENVIRONMENT_VARIABLE", f'USER="{USER}"'),
            ("PROCESS_0:ENVIRONMENT_VARIABLE", 'WANDB_NAME="project-x-lab/7"'),
            ("PROCESS_0:COLLECT_SECRETS", f"{HOME}/list"),
        ],
    )
    db.executemany(
        "INSERT INTO META_DATA_EXPORT VALUES (?, ?)",
        [("EXPORT_HOST", HOST), ("EXPORT_USER", USER), ("EXPORT_PARAM_INPUT_PATH_ABS", f"{HOME}/project/a.nsys-rep")],
    )
    if "TARGET_INFO_SYSTEM_ENV" in tables:
        db.executemany(
            "INSERT INTO TARGET_INFO_SYSTEM_ENV VALUES (1, ?, ?, 1, ?)",
            [
                (HOST, "Hostname", HOST),
                (HOST, "DeviceEnvironment", f"API_TOKEN={TOKEN};HOME={HOME}"),
                (HOST, "CpuArchitecture", "x86_64"),
            ],
        )
    if "ProcessStreams" in tables:
        db.execute(
            "INSERT INTO ProcessStreams VALUES (1, ?, ?)",
            (string("/tmp/nsys/stdout.log"), string("hello from the program\n")),
        )
        db.execute("INSERT INTO ThreadNames VALUES (?, 1, 1)", (string(f"worker-{USER}"),))
        db.execute("INSERT INTO PROCESSES VALUES (1, 1, ?)", (f"{HOME}/venv/bin/python",))
    db.execute("UPDATE TARGET_INFO_GPU SET uuid = ?, busLocation = '0000:3b:00.0'", (UUID,))
    db.execute(
        "INSERT INTO DIAGNOSTIC_EVENT SELECT timestamp, timestampType, source, severity, ?, globalPid FROM DIAGNOSTIC_EVENT LIMIT 1",
        (f"Loaded {HOME}/lib/x.so on {HOST}",),
    )
    db.execute(
        "INSERT INTO NVTX_EVENTS (start, end, eventType, text, globalTid, domainId) "
        "SELECT start, end, 59, ?, globalTid, 0 FROM NVTX_EVENTS WHERE end IS NOT NULL LIMIT 1",
        (f"load {HOME}/data and {TOKEN}",),
    )
    db.execute("CREATE TABLE NEW_IN_NSYS_2030 (note TEXT)")
    db.execute("INSERT INTO NEW_IN_NSYS_2030 VALUES (?)", (f"{USER}@{HOST}",))
    db.commit()
    db.execute("CREATE TABLE gone AS SELECT ? AS note", (f"deleted: {TOKEN} {HOME}",))
    db.commit()
    db.execute("DROP TABLE gone")
    db.commit()
    db.close()
    return target
