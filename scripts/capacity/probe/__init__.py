"""What a model knows: losses on the facts it was trained on."""
