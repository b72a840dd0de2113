"""Networks in the forms of other programs: ONNX, PyTorch, scikit-learn."""

from deltarule.exchange.onnx import to_onnx

__all__ = ["to_onnx"]
