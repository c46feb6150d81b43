"""The walls around an execution environment: contract and levels.

``contract.py`` says what a level promises; ``process.py`` is the level that every
Linux machine can give. Namespaces, cgroups, seccomp and Landlock get a module each.
"""
