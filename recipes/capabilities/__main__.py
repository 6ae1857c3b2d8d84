"""Try each thing with each method and write the table into docs/adapters.md.

python -m recipes.capabilities            # tries all and rewrites the table
python -m recipes.capabilities --check    # exits with 1 if the page says otherwise
"""

import sys

if __name__ == "__main__":
    # Each process that a trial starts imports this file too, under another name, and needs none of the rest.
    from recipes.capabilities.page import main

    sys.exit(main())
