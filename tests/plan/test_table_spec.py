"""The table's spec names what its rows are composed from, so that the engine makes again what is missing of it."""

from planted import tiny_grid

from capacity.plan.table_spec import table_spec


def test_every_artefact_that_a_row_is_read_from_is_a_parent_or_a_member_of_one() -> None:
    grid = tiny_grid()
    parents = [grid.specs[name] for name in grid.table.parent_names()]
    named = {each.name for parent in parents for each in (parent, *parent.members)}
    for row in grid.table.settings["rows"]:
        read = {f"datasets/{row['dataset_id']}", f"variants/{row['variant_id']}", f"probes/{row['probe_id']}"}
        assert read <= named


def test_a_table_of_fewer_rows_waits_for_less() -> None:
    grid = tiny_grid()
    rows = [row for row in grid.table.settings["rows"] if row["regime"] == "short"]
    part = table_spec(rows, grid.table.settings["resamples"], [], grid.specs)
    assert set(part.parent_names()) < set(grid.table.parent_names())
    assert part.id != grid.table.id
