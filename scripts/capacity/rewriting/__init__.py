"""Rewriting: texts of people by a language model, an endpoint or an offline paraphraser, every text checked."""
