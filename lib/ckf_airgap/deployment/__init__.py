"""The order of the steps of a deployment, and the verification of what runs."""
