"""The settings of SGRS and LocoRE, and the controls that they have to beat."""
