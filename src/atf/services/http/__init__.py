"""What every process serves over HTTP, on this machine only."""
