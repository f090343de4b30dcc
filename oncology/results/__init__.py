"""What a fit, a prediction and a simulation leave behind: one schema, written and read in one place."""
