"""Write the table of the simulation into the documentation."""

from tests.sim.scenarios import table
from tests.sim.test_routing import BEGIN, END, PAGE

page = PAGE.read_text("utf-8")
head, begin, rest = page.partition(BEGIN)
PAGE.write_text(head + begin + table() + END + rest.partition(END)[2], "utf-8")
