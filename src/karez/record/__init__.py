"""What happened, durable and chained by hashes, so that anyone can check it and decide it again."""
