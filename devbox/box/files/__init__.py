"""Files of the box: what a sync asks about them, which of them only exist here, and saving those
before a pause loses them. May import box/ and wire/.
"""
