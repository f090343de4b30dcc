"""Pages of a fit and of a prediction, made of results alone: figures (matplotlib, VTK), tables and sentences."""
