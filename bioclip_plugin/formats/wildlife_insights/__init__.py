"""Wildlife Insights: images.csv of a download or a batch upload, with deployments.csv beside it."""
