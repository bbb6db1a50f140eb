"""Rule trees over operands, in three-valued logic; used by alerts, and by screeners and bots later."""
