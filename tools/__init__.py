"""Small programs that keep the project's habits."""
