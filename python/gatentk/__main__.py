"""`python -m gatentk`: the command `gatentk` of this Python."""

from gatentk.cli import main

if __name__ == "__main__":
    main(prog_name="gatentk")
