"""What people meet: shown clients, exceptions, wrong arguments, warnings, types."""
