#!/usr/bin/env python3
"""Run a task or a verb of one docroot: dracotask.py DOCROOT [TASKNAME | VERB] ...

The script shares its name with the package. Whatever is installed beside it (gunicorn, flask, pytest)
has this folder first on ``sys.path`` and gets the script when it imports ``dracotask``: the script then
hands over to the package. A child of ``multiprocessing`` runs it as ``__mp_main__``, which does nothing.
"""

import gc
import sys
from os.path import abspath, dirname, exists, join, realpath, samefile

# Two, where the script was called by a symbolic link.
OWN_FOLDERS = {dirname(abspath(__file__)), dirname(realpath(__file__))}


def leads_here(entry):
    """Return True if an entry of ``sys.path`` is the script's own folder, however it is spelled."""
    try:
        return any(samefile(entry or ".", folder) for folder in OWN_FOLDERS)
    except (OSError, TypeError, ValueError):  # nothing there, or nothing that could be a folder
        return False


def prefer_checkout():
    """Let ``import dracotask`` find the package beside this folder, where there is one."""
    checkout = dirname(dirname(realpath(__file__)))
    if exists(join(checkout, "dracotask", "__init__.py")):
        sys.path.insert(0, checkout)


if __name__ == "__main__":
    gc.disable()  # nothing that is imported now will be garbage
    # There Python puts a script's own folder; to look further would cost each run its time.
    if sys.path[0] in OWN_FOLDERS:
        del sys.path[0]
    prefer_checkout()
    from dracotask.cli.main import main

    sys.exit(main())
elif __name__ == "dracotask":
    # First of all, so that no other thread gets hold of the script. The import that is under way
    # returns what it finds in sys.modules at its end, which is the package.
    del sys.modules[__name__]
    sys.path[:] = [entry for entry in sys.path if not leads_here(entry)]
    prefer_checkout()
    __import__(__name__)
