"""Numbers in what people read: `1 refusal`, `3 refusals`. The control plane, the workers and the commands say them."""


def counted(number: int, noun: str) -> str:
    """The number with its noun, which makes its plural with an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
