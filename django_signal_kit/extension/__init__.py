"""What a model lacks, added while its class is made or its instances are."""
