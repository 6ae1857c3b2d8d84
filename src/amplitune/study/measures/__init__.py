"""What a run is measured by beside its quality: how it learned, what that took, and what it changed."""
