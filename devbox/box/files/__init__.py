"""Files of the box: which of them only exist here, and saving those before a pause loses them.

May import box/.
"""
