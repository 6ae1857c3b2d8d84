"""QAA and SoRA as peft tuners."""
