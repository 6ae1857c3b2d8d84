"""QAA: quantum-amplitude embedded adaptation of linear layers."""
