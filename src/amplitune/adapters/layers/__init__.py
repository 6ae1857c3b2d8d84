"""What is around a module: kinds of base layers, merging, mixed batches, quantised and offloaded weights."""
