"""What supervisor and workers share: the messages between them and the shared cells.

Both sides import this package and neither imports the other. A message is whole or absent; a cell has one writer.
"""
