"""Where trading calendars come from."""
