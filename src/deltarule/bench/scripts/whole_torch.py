"""A whole process of a PyTorch user: import, load, train; prints loss and peak memory."""

# A program for a library that may not be installed here.
# mypy: ignore-errors

import sys

import numpy as np
import torch

sys.path.append(sys.argv[1])
from process_memory import Memory, arguments

job = arguments()
memory = Memory()
torch.set_num_threads(job["threads"])
X, y = torch.from_numpy(np.load(job["X"])), torch.from_numpy(np.load(job["y"]))
layers: list[torch.nn.Module] = []
for n_in, n_out in zip(job["widths"], job["widths"][1:], strict=False):
    layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
model = torch.nn.Sequential(*layers[:-1])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(job["epochs"]):
    losses = []
    order = torch.randperm(len(X))
    for i in range(0, len(X), job["batch_size"]):
        rows = order[i : i + job["batch_size"]]
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    mean = torch.stack(losses).mean().item()
memory.report(mean)
