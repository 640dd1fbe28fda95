"""`python -m cockpit`: the same as the `cockpit` script."""

from cockpit.cli import main

if __name__ == "__main__":
    main()
