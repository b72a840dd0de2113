"""Files of data become Arrow tables: how a file writes its table is found, and said."""

from deltarule.tables.reading.blocks import read_blocks as read_blocks
from deltarule.tables.reading.dialect import Dialect as Dialect
from deltarule.tables.reading.dialect import Reading as Reading
from deltarule.tables.reading.reader import read_table as read_table
