"""From a developed frame to its numbers: stars, sky brightness, clouds, Sun and Moon, safety."""
