"""``python -m lambent`` is the command ``lambent``."""

from lambent.cli.main import main

if __name__ == "__main__":
    main(prog_name="lambent")
