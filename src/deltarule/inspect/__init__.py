"""Looking inside a network: the trace of one pass, and the check of its gradients."""

from deltarule.inspect.gradient_check import GradientCheck, check_gradients
from deltarule.inspect.trace import Trace, backpropagate

__all__ = ["GradientCheck", "Trace", "backpropagate", "check_gradients"]
