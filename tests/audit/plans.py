"""The plans by which PostgreSQL reads the log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db import connection

Nodes = list[dict[str, Any]]

TABLE = "signal_kit_audit_auditentry"


def get_plans(queries: Iterable[dict[str, str]]) -> Nodes:
    """The nodes of the plans of all queries that read the log, as they were run."""
    nodes: Nodes = []

    def visit(node: dict[str, Any]) -> None:
        nodes.append(node)
        for inner in node.get("Plans", ()):
            visit(inner)

    for query in list(queries):
        if f'FROM "{TABLE}"' in query["sql"]:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
                (plan,) = cursor.fetchone()
            visit((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return nodes


def has_seq_scan(nodes: Nodes) -> bool:
    """Is the whole log read?"""
    return any(
        "Seq Scan" in node["Node Type"] and node.get("Relation Name") == TABLE for node in nodes
    )


def get_scanned(nodes: Nodes) -> float:
    """How many rows of tables and indexes were looked at."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes
        if "Scan" in node["Node Type"]
    )


def get_indexes(nodes: Nodes) -> set[str]:
    return {node["Index Name"].rsplit("_", 2)[0] for node in nodes if "Index Name" in node}
