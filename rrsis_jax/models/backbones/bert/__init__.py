"""BERT (Devlin et al., NAACL 2019)."""
