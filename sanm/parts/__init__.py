"""What several methods are made of; a file is a concept. No method is known here."""
