"""Run the command line as `python -m amplitune`."""

from amplitune.cli import main

main()
