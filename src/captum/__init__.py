"""Model interpretability for PyTorch: ask a model why."""

from captum import _legacy, attr

__version__ = "1.0.0.dev0"

_legacy.install()

__all__ = ["__version__", "attr"]
