"""Engines: what executes a plan. One protocol, chosen explicitly and reported."""

from __future__ import annotations

from deltarule.engines.protocol import Engine, Executor, Record, Run, UpdateCounts
from deltarule.engines.selection import engines, prediction_executor, select_engine

__all__ = [
    "Engine",
    "Executor",
    "Record",
    "Run",
    "UpdateCounts",
    "engines",
    "prediction_executor",
    "select_engine",
]
