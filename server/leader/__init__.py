"""What only the leader does: sessions' time, tombstones, the catalog in step with the gossip pool, the CA."""
