"""Which rank on which node a trace is from, as far as the recording itself says.

Launchers of parallel programs (torchrun, Open MPI, PMIx, Slurm) tell every process its rank in the environment, and nsys keeps
the environment of the program that it started. A sanitised export holds neither.
"""

from __future__ import annotations

import re

from profiler.trace.database import Database

# the most specific first: what torchrun sets inside a Slurm job is the rank, and SLURM_PROCID that of the launcher
_RANK_VARIABLES = ("RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
_NODE_VARIABLES = ("SLURMD_NODENAME", "HOSTNAME")
_RANK = re.compile(r"\d{1,7}")
_NODE = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")


def recorded_rank(database: Database) -> int | None:
    """The rank that the launcher gave to the traced program; None where the export does not tell."""
    value = _variable(database, _RANK_VARIABLES, _RANK)
    return None if value is None else int(value)


def recorded_node(database: Database) -> str | None:
    """The name of the machine; None where the export does not tell."""
    named = _variable(database, _NODE_VARIABLES, _NODE)
    if named is None and database.has("TARGET_INFO_SYSTEM_ENV", "name", "value"):
        rows = database.rows("SELECT value FROM TARGET_INFO_SYSTEM_ENV WHERE name = 'Hostname' LIMIT 1")
        named = str(rows[0][0]) if rows and _NODE.fullmatch(str(rows[0][0])) else None
    return named


def _variable(database: Database, names: tuple[str, ...], shape: re.Pattern[str]) -> str | None:
    """The first of the variables that is set to something of this shape."""
    if not database.has("META_DATA_CAPTURE", "name", "value"):
        return None
    found: dict[str, str] = {}
    for (text,) in database.rows("SELECT value FROM META_DATA_CAPTURE WHERE name LIKE '%:ENVIRONMENT_VARIABLE'"):
        name, _, value = str(text).partition("=")
        if name in names and shape.fullmatch(value.strip('"')):
            found.setdefault(name, value.strip('"'))
    return next((found[name] for name in names if name in found), None)
