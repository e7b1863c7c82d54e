"""What people see while a command works: header, progress, lines, tables, and the log of a run."""
