"""The stack on this machine: how its processes start and, whatever happens to the program that started them, end."""
