"""APScheduler as the timer: a trigger over our own cron rules, and one job that survives the process."""
