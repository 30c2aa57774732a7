"""What tables, figures and pages are made of, whatever they are about."""
