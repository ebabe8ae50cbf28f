"""What tools/make-images is made of: recipes, the workshop that carries them out, and writers."""
