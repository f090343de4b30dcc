"""The command line: arguments, progress and files; one small file per command, heavy imports inside the command."""
