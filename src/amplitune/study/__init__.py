"""A comparison of fine-tuning methods: its configuration, runs, execution and results."""
