"""PyTorch: the training loop of its tutorials, without a DataLoader, which would only slow it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from deltarule.base.types import Array
from deltarule.bench.peers.base import Absent, Session, import_peer
from deltarule.bench.workloads import Data, Workload, initial_parameters

_COMPILE_SECONDS = 120
_COMPILE_PROBE = """
import torch
model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
loss = torch.compile(lambda x: model(x).square().mean())(torch.ones(5, 4))
loss.backward()
"""


class PyTorch:
    """PyTorch, eager or compiled, with its plain or its fused optimizer."""

    def __init__(self, key: str, title: str, *, fused: bool, compiled: bool = False) -> None:
        self.key = key
        self.title = title
        self.note = (
            f"{'torch.compile of forward and loss' if compiled else 'eager'}, "
            f"{'fused' if fused else 'default'} optimizer; rows by randperm and indexing (views at "
            "batch 1 and without shuffling); each step gives a loss tensor, one mean per epoch"
        )
        self._fused, self._compiled = fused, compiled

    def suits(self, workload: Workload) -> bool:
        """Return whether it suits: all do, but narrow ones in its faster forms only."""
        return self._fused or not workload.narrow

    def prepare(self, workload: Workload, data: Data, threads: int) -> Session:
        """Return a session."""
        torch = import_peer("torch")
        if self._compiled:
            _check_compiler()
        torch.set_num_threads(threads)
        return _Session(torch, workload, data, self._fused, self._compiled)


@cache
def _check_compiler() -> None:
    """Compile something small in a separate process, which can be ended if it takes too long."""
    try:
        subprocess.run(
            [sys.executable, "-c", _COMPILE_PROBE],
            check=True,
            capture_output=True,
            timeout=_COMPILE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"torch.compile took more than {_COMPILE_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise Absent(f"torch.compile does not work here ({lines[-1] if lines else ''})") from None


class _Session:
    def __init__(
        self, torch: Any, workload: Workload, data: Data, fused: bool, compiled: bool
    ) -> None:
        self._torch, self._workload, self._fused = torch, workload, fused
        self._X, self._y = torch.from_numpy(data.X), torch.from_numpy(data.y)
        if not workload.classifies:
            self._y = self._y.reshape(workload.rows, -1)
        nn = torch.nn
        activation = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[workload.hidden]
        layers = []
        for n_in, n_out in zip(workload.widths, workload.widths[1:], strict=False):
            layers += [nn.Linear(n_in, n_out), activation()]
        self._model = model = nn.Sequential(*layers[:-1])
        functional = nn.functional
        criterion = functional.cross_entropy if workload.classifies else functional.mse_loss

        def loss(x: Any, y: Any) -> Any:
            return criterion(model(x), y)

        self._loss = torch.compile(loss, dynamic=False) if compiled else loss
        # mse_loss lacks the factor 1/2 (half the rate makes the same step) and is a mean over the
        # outputs too. Adam's steps do not depend on a factor.
        self._scale = 1.0 if workload.classifies else 0.5 * workload.widths[-1]
        self.reset()

    def reset(self) -> None:
        torch, workload = self._torch, self._workload
        linear = [m for m in self._model if isinstance(m, torch.nn.Linear)]
        with torch.no_grad():
            for layer, (W, b) in zip(linear, initial_parameters(workload), strict=True):
                layer.weight.copy_(torch.from_numpy(W.T))
                layer.bias.copy_(torch.from_numpy(b))
        rate, fused = workload.learning_rate, True if self._fused else None
        if workload.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(
                self._model.parameters(), lr=rate * self._scale, fused=fused
            )
        else:
            self._optimizer = torch.optim.Adam(self._model.parameters(), lr=rate, fused=fused)

    def run_epochs(self, epochs: int) -> float:
        torch, X, y = self._torch, self._X, self._y
        n, batch = self._workload.rows, self._workload.batch_size
        result = 0.0
        for _ in range(epochs):
            losses: list[Any] = []
            if self._workload.full_batch:
                losses.append(self._step(X, y))
            elif batch == 1 or not self._workload.shuffles:
                starts = range(0, n, batch)
                for i in torch.randperm(n).tolist() if self._workload.shuffles else starts:
                    losses.append(self._step(X[i : i + batch], y[i : i + batch]))
            else:
                order = torch.randperm(n)
                for i in range(0, n, batch):
                    rows = order[i : i + batch]
                    losses.append(self._step(X[rows], y[rows]))
            result = torch.stack(losses).mean().item() * self._scale
        return result

    def _step(self, x: Any, y: Any) -> Any:
        self._optimizer.zero_grad()
        loss = self._loss(x, y)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def predictor(self, X: Array) -> Callable[[], Any]:
        torch, model, x = self._torch, self._model, torch_rows(self._torch, X)
        classifies = self._workload.classifies

        def predict() -> Any:
            with torch.inference_mode():
                z = model(x)
                return torch.softmax(z, 1) if classifies else z

        return predict


def torch_rows(torch: Any, X: Array) -> Any:
    """Return rows as a tensor of their own."""
    return torch.from_numpy(X.copy())
