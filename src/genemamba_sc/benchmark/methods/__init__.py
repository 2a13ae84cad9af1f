"""Hold the methods that are compared, and what each reads and hands back."""
