"""Speed, always as a ratio to something measured in the same run: see README.md.

``servers``    what is measured: the C floor and Lambent, each a process of its own
``processes``  what a process and its descendants cost: CPU, memory
``rounds``     alternating rounds of load, and their medians
``figures``    a measured value beside its yardstick and its goal; the table
``cases``      one module per figure
``compare``    two revisions of Lambent against each other
"""
