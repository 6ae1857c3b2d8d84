"""The table of docs/adapters.md that says what each method can do, made by trying it."""
