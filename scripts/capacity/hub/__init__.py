"""Folders as the Hugging Face hub wants them: models and datasets with their cards, and how they get there."""
