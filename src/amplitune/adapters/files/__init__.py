"""An adapter's files: their version, the check of what they hold, loading without halves, the model card."""
