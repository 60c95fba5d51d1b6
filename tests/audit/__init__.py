"""The auditors tools, held against logs that are whole and logs that somebody has touched."""
