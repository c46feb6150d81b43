"""Letters on their way: from the queue to destinations and dead-letter queues."""
