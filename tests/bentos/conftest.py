"""A model's folder for a test to make mistakes in."""

from tests.kettle import kettle

__all__ = ["kettle"]
