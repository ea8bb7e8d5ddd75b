"""The whole loop on real data: train, serve, drift, retrain, roll out."""
