"""python -m codlocal."""

from codlocal.cli import main

if __name__ == "__main__":
    main()
