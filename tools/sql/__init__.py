"""Questions in SQL: to the databases an operator names (``sql``), and to the tables a caller attached (``table_query``). Nothing here can write."""
