"""The commands of the command line, a file for each subject; thin over the Python API."""
