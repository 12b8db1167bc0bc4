"""What every run in a folder needs: safe files, a journal to go on from, an identity, memory that suffices."""
