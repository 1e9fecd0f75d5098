"""What a run says: summary, tables, page, files, figures."""
