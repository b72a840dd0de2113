"""Rates of the three products of a dense layer by torch.mm (MKL on x86-64), one core, GFLOP/s.

The counterpart of bench_products.cpp: the same shapes, the same way of timing.
"""

import time

import torch


def rate(flops, work):
    fastest = float("inf")
    for _ in range(5):
        count, start, seconds = 0, time.perf_counter(), 0.0
        while seconds < 0.01:
            work()
            count += 1
            seconds = time.perf_counter() - start
        fastest = min(fastest, seconds / count)
    return 1e-9 * flops / fastest


def measure(rows, n):
    a, d, W = torch.randn(rows, n), torch.randn(rows, n), torch.randn(n, n)
    z, dW = torch.empty(rows, n), torch.empty(n, n)
    products = (
        lambda: torch.mm(a, W, out=z),
        lambda: torch.mm(d, W.T, out=z),
        lambda: torch.mm(a.T, d, out=dW),
    )
    return [rate(2.0 * rows * n * n, product) for product in products]


torch.set_num_threads(1)
print("| rows | n | forward, backward, gradient |\n|---|---|---|")
for rows in (1, 16, 128, 1024, 4096):
    for n in (1, 16, 64, 256, 1024, 4096):
        print(f"| {rows} | {n} |", ", ".join(f"{r:.1f}" for r in measure(rows, n)), "|")
