"""Wire formats: bytes ⇄ the model's arrays, one module per protocol, no HTTP."""
