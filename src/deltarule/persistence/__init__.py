"""Networks in files. No pickle anywhere: loading never runs code from a file."""

from deltarule.persistence.safetensors_file import load, save

__all__ = ["load", "save"]
