"""The front door: what `import oncology` offers, and what every command calls."""
