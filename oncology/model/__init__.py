"""The growth model without space: laws, treatments, time grid, seed, trajectory; numpy alone."""
