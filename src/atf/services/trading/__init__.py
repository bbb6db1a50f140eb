"""The process that turns schedules into due runs and rescues what dead processes held."""
