"""Networks and their training: the only door to torch, lightning, safetensors and matplotlib."""
