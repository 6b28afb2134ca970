"""Speed and memory, each as a ratio of two things measured in turn in one run."""
