"""Hold the commands: every module here is one command, found by its name.

A command module imports little, because help must not wait for torch. It has

* ``add(parser)``, which adds its options; the first line of its docstring is the help;
* ``run(arguments)``, which does the work and returns what is printed to stdout (``""`` for nothing). If the
  result has an attribute ``ok`` that is False, the command ends with 1;
* ``check(arguments)``, where options need or exclude each other: it returns what is wrong, or ``""``.

A folder is a group of commands; ``DEFAULT`` of its ``__init__`` names the one that is meant where none is named.
"""
