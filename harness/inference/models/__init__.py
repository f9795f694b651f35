"""What inference and training share: dtype and device, weights, tokenizer, and the rendering of prompts."""
