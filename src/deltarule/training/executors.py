"""What executes a plan: an engine; beneath it, what takes all rows in each step."""

from __future__ import annotations

from dataclasses import replace

from deltarule.engines import Engine, Executor, select_engine
from deltarule.formulas.full_batch import LBFGS, BayesianRegularization, FullBatchOptimizer
from deltarule.network.network import Network
from deltarule.plan import Plan
from deltarule.training.bayesian_regularization import BayesianRegularizationExecutor
from deltarule.training.full_batch_executor import FullBatchExecutor
from deltarule.training.lbfgs import LBFGSExecutor
from deltarule.training.levenberg_marquardt import LevenbergMarquardtExecutor


def bind(name: str, plan: Plan, network: Network, threads: int | None) -> tuple[Engine, Executor]:
    """Return the engine of a name for a plan, and what executes the plan on a network."""
    if not isinstance(plan.optimizer, FullBatchOptimizer):
        engine = select_engine(name, plan)
        return engine, engine.executor(plan, network, threads=threads)
    engine = select_engine(name, replace(plan, optimizer=None))
    kind: type[FullBatchExecutor] = LevenbergMarquardtExecutor
    if isinstance(plan.optimizer, LBFGS):
        kind = LBFGSExecutor
    elif isinstance(plan.optimizer, BayesianRegularization):
        kind = BayesianRegularizationExecutor
    return engine, kind(plan, network, engine, threads)
