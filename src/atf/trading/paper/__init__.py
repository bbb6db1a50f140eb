"""The paper venue's core: what an account holds, and what a bar or a tick makes of its orders. Pure."""
