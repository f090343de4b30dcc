"""What a fit leaves behind: its schema, written and read in one place."""
