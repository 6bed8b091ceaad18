//! The YAML file: reading, judging, printing.
