"""The configuration of a study: what can be set, how YAML becomes it, where a mistake stands."""
