"""Model packages for the Hugging Face Hub: a checkpoint is read without being executed, judged,
laid out in a clean folder and uploaded."""
