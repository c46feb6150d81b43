"""What survives: functions, code, logs."""
