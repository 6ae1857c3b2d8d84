"""Where the processes of a study run: on this machine, or on the nodes of a Ray cluster."""
