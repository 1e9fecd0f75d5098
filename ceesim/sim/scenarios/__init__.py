"""Where inputs meet: arrivals and queues, batches, several accelerators behind one DRAM, networks in a pipeline."""
