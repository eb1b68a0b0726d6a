"""What a model stores: losses on the facts it was trained on."""
