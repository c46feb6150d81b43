"""What tests of the client run against besides a real server."""
