"""What the results of a study allow to be said."""
