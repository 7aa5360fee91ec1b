"""What Fairlead costs and how fast it is: ``make bench``. Prints figures beside their targets; asserts nothing."""
