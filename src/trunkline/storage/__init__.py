"""Where records are kept and asked for: `schema` what is stored, `rows` what queries answer,
`sqlite` the engine for one machine. An engine is the only module that imports its driver.
"""
