"""The only SQL of the project: tables, migrations, one repository a room, and the embedded server."""
