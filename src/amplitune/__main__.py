"""Run the command line as `python -m amplitune`."""

from amplitune.cli import main

if __name__ == "__main__":
    main()
