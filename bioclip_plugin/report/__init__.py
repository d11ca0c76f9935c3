"""A report to look at: one run as one HTML file that needs no network, with thumbnails, filters, activity and a map."""
