"""What runs have stored, read back."""
