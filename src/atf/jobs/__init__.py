"""The job engine: runs, the service that makes and changes them, and the workers that do them."""
