"""The commands: every module here is one, found by its name.

A command module is light to import, for help must not wait for torch. It has

* ``add(parser)``, which adds its options; the first line of its docstring is the help;
* ``run(arguments)``, which does the work and returns what is printed to stdout (``""`` for nothing). A result with an
  attribute ``ok`` that is False ends the command with 1;
* ``check(arguments)``, where options need or exclude each other: what is wrong, or ``""``.
"""
