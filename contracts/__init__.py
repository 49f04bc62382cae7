"""What keeps proto/ sound: it checks the contracts, generates their code and writes what they allow. No process imports it."""
