"""The agent of a pull center: senses it, runs what lies in its mailbox, and reports."""
