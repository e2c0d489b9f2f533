"""What others can see of the daemon while it runs: its status, its metrics, its spans."""
