"""`python -m oncology`: the same as the `oncology` command.

A plain `doctor` is started without the command-line library, so that it can say that even that is missing.
"""

import sys

if __name__ == "__main__":
    if sys.argv[1:] == ["doctor"]:
        from oncology.cli.doctor import doctor

        sys.exit(doctor())
    from oncology.cli.main import main

    main()
