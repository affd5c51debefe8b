"""The numbers of a target after many prompts: in passes that share what the prompts share."""
