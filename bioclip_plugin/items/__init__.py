"""The data that flows through a run: media items, answers, requests, metadata, deployments."""
