"""What the papers claim, run again: tables of recipes, over seeds, beside the published numbers."""
