"""The operators' console: an app and a page of its own, in a process that runs while an operator wants it (`oo console`).

It has an operator's rights and no more. It reads; what writes asks first, and leaves an entry in oo.audit.
"""
