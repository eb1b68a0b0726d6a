"""Worlds of facts: people, the grammar that words them, and the renderer that makes labelled tokens."""
