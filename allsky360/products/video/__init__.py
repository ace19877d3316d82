"""Videos: pictures become pieces encoded each for itself, and pieces one file without encoding anew."""
