"""A report of one run as one HTML file that needs no network, with thumbnails, filters, activity and a map."""
