"""Networks in the forms of other programs: ONNX, PyTorch, scikit-learn."""

from deltarule.exchange.onnx import onnx_inputs, to_onnx
from deltarule.exchange.sklearn import from_sklearn, to_sklearn
from deltarule.exchange.torch import from_state_dict, from_torch, to_state_dict, to_torch

__all__ = [
    "from_sklearn",
    "from_state_dict",
    "from_torch",
    "onnx_inputs",
    "to_onnx",
    "to_sklearn",
    "to_state_dict",
    "to_torch",
]
