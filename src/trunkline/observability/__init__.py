"""What happened, for people: event names, redaction, logging. Standard library only."""
