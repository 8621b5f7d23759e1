"""What lives in a compute center: its inventory, the word of its owner, the work sent there."""
