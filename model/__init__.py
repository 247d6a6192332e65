"""What is said on the wire and in files: structs, codecs, durations, errors, filters, HCL.

Everybody may import it; it imports nobody.
"""
