"""Language models: which words made these words."""
