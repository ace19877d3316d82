"""Videos: pictures become pieces encoded apart, and pieces one file without encoding anew."""
