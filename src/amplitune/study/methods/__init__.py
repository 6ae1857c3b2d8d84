"""The fine-tuning methods of a comparison: the table, the controls, the sizes."""
