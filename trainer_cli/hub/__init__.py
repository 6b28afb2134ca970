"""Where a name leads: a directory, an installed package, or a repository of the Hugging Face Hub."""
