"""The settings of SGRS and LocoRE against controls."""
