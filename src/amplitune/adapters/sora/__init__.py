"""SoRA: sparse low-rank adaptation of linear layers."""
