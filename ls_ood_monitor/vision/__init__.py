"""The network side: preprocessing, DeepLabv3+ and Monte-Carlo latent samples."""
