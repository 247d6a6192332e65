"""What several test folders share: the tools that a test may need, free ports, whole agents as processes."""
