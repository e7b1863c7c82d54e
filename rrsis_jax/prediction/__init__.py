"""From an image or a scene and expressions to masks."""
