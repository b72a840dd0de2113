"""Networks in the forms of other programs: ONNX, PyTorch, scikit-learn."""
