"""What changes jobs: the questions that are asked first, and the progress until the proof."""
