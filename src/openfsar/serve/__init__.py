"""Teach and ask over HTTP, and a page for the browser that does it."""

from openfsar.serve.app import LOCAL, create_app
from openfsar.serve.limits import Limits
from openfsar.serve.opening import open_model

__all__ = ["LOCAL", "Limits", "create_app", "open_model"]
