"""What is explained, where it lands, and how models are evaluated: the part every method shares."""
