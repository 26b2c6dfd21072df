"""`python -m altlas`, and the command `altlas` of an installed package: the program with these arguments."""
import os
import sys

from altlas._engine import find_binary
from altlas.errors import Error


def main() -> None:
    """Becomes the program."""
    try:
        binary = find_binary()
    except Error as error:
        sys.exit("altlas: %s" % error)
    os.execv(binary, [binary, *sys.argv[1:]])


if __name__ == "__main__":
    main()
