"""What can be said of a study before it runs."""
