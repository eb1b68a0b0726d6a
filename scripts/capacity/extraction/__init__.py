"""Knowledge extraction: questions about facts, fine-tuning on some people's, and the answers about the others'."""
