"""From files and datasets to tokens with their loss mask."""
