"""Pictures of tables, and pages of the report."""
