"""The catalogue: right-hand sides with their exact solutions, a module for each family of equations."""
