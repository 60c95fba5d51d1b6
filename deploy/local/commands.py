"""Runs several commands of one program in one interpreter, since to load a service takes longer than either command.

`python -m deploy.local.commands services.registry migrate topics`
"""

import runpy
import sys


def main() -> None:
    module, *commands = sys.argv[1:]
    for command in commands:
        sys.argv = [module, command]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            if ended.code:
                raise


if __name__ == "__main__":
    main()
