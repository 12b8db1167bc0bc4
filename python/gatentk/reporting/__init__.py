"""What every result that people read shares: words for numbers, the figure style, the page, the environment."""
