"""trainer-cli: train PyTorch models from composed YAML."""

__version__ = "0.1.0"
