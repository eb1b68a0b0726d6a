"""What an artefact is: its identity, its frozen description, its manifest, where it is kept."""
