"""What the programs tell of themselves: metrics, events, logs and health."""
