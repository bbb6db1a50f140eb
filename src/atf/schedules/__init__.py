"""When things run: cron expressions, time zones and misfires."""
