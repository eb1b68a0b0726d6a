"""Rewriting: people's facts told by a language model, an endpoint or an offline paraphraser, every text checked."""
