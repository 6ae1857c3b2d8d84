"""Tables, figures and one self-contained page from stored results."""
