"""Lambent: a function service that speaks AWS Lambda's API."""

__version__ = "0.1.0"
__all__ = ["__version__"]
