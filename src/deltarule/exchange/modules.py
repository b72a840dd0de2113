"""PyTorch modules for what `torch.nn` has none of. Importing this module imports PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class Residual(nn.Module):
    """``x + inner(x)``, or ``projection(x) + inner(x)``."""

    def __init__(self, inner: nn.Module, projection: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.projection = nn.Identity() if projection is None else projection

    def forward(self, x: Any) -> Any:
        """Return the sum."""
        return self.projection(x) + self.inner(x)


class Scale(nn.Module):
    """``x * weight``, a factor for each column."""

    def __init__(self, width: int, dtype: Any = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, dtype=dtype))

    def forward(self, x: Any) -> Any:
        """Return the product."""
        return x * self.weight


class Exp(nn.Module):
    """``e^x``."""

    def forward(self, x: Any) -> Any:
        """Return the exponential."""
        return torch.exp(x)


class Codes(nn.Module):
    """Vectors from one ``nn.Embedding`` for each column of codes, behind the other columns."""

    def __init__(
        self, counts: Sequence[int], size: int, columns: Sequence[int], dtype: Any = None
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.tables = nn.ModuleList(nn.Embedding(count, size, dtype=dtype) for count in counts)

    def forward(self, x: Any) -> Any:
        """Return the columns without codes, then the vectors; NaN gives NaN in its row."""
        codes = x[:, self.columns]
        missing = codes.isnan().any(dim=1, keepdim=True)
        codes = codes.nan_to_num().long()
        others = [i for i in range(x.shape[1]) if i not in self.columns]
        vectors = [table(codes[:, i]) for i, table in enumerate(self.tables)]
        return torch.cat([x[:, others], *vectors], dim=1).masked_fill(missing, torch.nan)
