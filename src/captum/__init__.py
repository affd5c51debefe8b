"""Model interpretability for PyTorch."""
