"""An index in the making: planned, built, tuned, grown."""
