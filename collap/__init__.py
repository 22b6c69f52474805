"""CoLLAP: search whole songs by long descriptions."""
