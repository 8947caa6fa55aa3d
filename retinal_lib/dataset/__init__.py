"""A dataset on disk: each image a Case of facts."""
